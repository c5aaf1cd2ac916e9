import { HandpickError } from "../../error.ts";
import { type NixCacheInfo, parseNixCacheInfo, printNixCacheInfo } from "../../nix/cache-info.ts";
import { FormatError } from "../../nix/format-error.ts";
import type { NarInfo } from "../../nix/narinfo.ts";
import { DEFAULT_STORE_DIR, type HashPart, storeDirOf } from "../../nix/store-path.ts";
import { CACHE_INFO_NAME, narInfoName } from "../binary-cache.ts";
import type {
  Cache,
  CacheCompanions,
  CacheInfo,
  CacheTraits,
  MissingOptions,
  PartTraits,
  Upload,
  UploadRequest,
} from "../contract.ts";
import type { CachePruner } from "../pruner.ts";
import { forEachConcurrent } from "../for-each-concurrent.ts";
import { FoundNarInfos } from "../found-narinfos.ts";
import type { OpenCacheOptions } from "../kind.ts";
import { LayoutUpload } from "./layout-upload.ts";
import { listNarInfos } from "./list-narinfos.ts";
import { ObjectPruner } from "./object-pruner.ts";
import { ObjectReader } from "./object-reader.ts";
import type { ObjectRequest, ObjectStore } from "./object-store.ts";

/** Questions at once, of one cache: each is small, and there is one for each path. */
export const QUESTIONS_AT_ONCE = 128;
/** How long the last answer may take after an interruption. */
const ABORT_MS = 3000;

export interface LayoutCacheOptions extends Pick<
  OpenCacheOptions,
  "name" | "storeDir" | "keys" | "abortMs"
> {
  /** Closed with the cache. */
  readonly objects: ObjectStore;
  readonly parts: PartTraits;
}

/**
 * Opens a cache in the layout that Nix reads, on a server that knows nothing of Nix: `nix-cache-info`,
 * narinfos and NARs are objects with names. Nothing is sent yet.
 */
export function createLayoutCache(options: LayoutCacheOptions): Cache {
  return new LayoutCache(options);
}

class LayoutCache implements Cache {
  readonly name: string;
  readonly traits: CacheTraits;
  readonly companions: CacheCompanions;
  readonly pruner?: CachePruner;
  readonly diagnose?: NonNullable<Cache["diagnose"]>;
  readonly openReader?: NonNullable<Cache["openReader"]>;
  readonly #label: string;
  readonly #objects: ObjectStore;
  readonly #storeDir: string;
  readonly #narInfos: FoundNarInfos;
  readonly #abortMs: number;
  /** The store that the cache is of, once it says so. */
  #prepared: Promise<string> | undefined;

  constructor({ name, objects, parts, storeDir, keys, abortMs }: LayoutCacheOptions) {
    this.name = name;
    this.traits = {
      compressions: new Set(["zstd", "xz", "none"]),
      closureRule: "client",
      signer: "client",
      parts,
    };
    this.#label = `cache ${JSON.stringify(name)}`;
    this.#objects = objects;
    if (objects.diagnose !== undefined) this.diagnose = objects.diagnose.bind(objects);
    if (objects.readRange !== undefined) this.openReader = () => new ObjectReader(objects);
    if (objects.removal !== undefined) {
      const { removal } = objects;
      this.pruner = new ObjectPruner({
        objects,
        removal,
        label: this.#label,
        atOnce: QUESTIONS_AT_ONCE,
      });
    }
    this.#storeDir = storeDir ?? DEFAULT_STORE_DIR;
    this.#narInfos = new FoundNarInfos({ storeDir, keys });
    this.companions = {
      missing: (names, signal) => this.#missingObjects(names, signal),
      put: async (companion, signal) => {
        await this.#prepare(signal);
        const action = `write ${JSON.stringify(companion.name)} to ${this.#label}`;
        await this.#objects.put(companion, { action, signal });
      },
    };
    this.#abortMs = abortMs ?? ABORT_MS;
  }

  async info(signal: AbortSignal): Promise<CacheInfo> {
    signal.throwIfAborted();
    const found = await this.#readInfo(signal);
    return {
      readUrl: this.#objects.readUrl,
      storeDir: found?.storeDir ?? this.#storeDir,
      priority: found?.priority,
      publicKeys: undefined,
      isPublic: undefined,
      writable: undefined,
      preferredCompression: undefined,
    };
  }

  async missing(
    hashParts: Iterable<HashPart>,
    signal: AbortSignal,
    { closeness = "narinfo", records, unread = [] }: MissingOptions = {},
  ): Promise<Set<HashPart>> {
    const asked = new Set(hashParts);
    this.#narInfos.distrust(unread);
    const request = { action: `look into ${this.#label}`, signal };
    const listed = await listNarInfos(asked, this.#objects, request);
    const verifies = closeness !== "narinfo";
    // A name in a list says nothing of signatures, nor of a NAR.
    const isNameEnough = this.#narInfos.areNamesEnough && !verifies;
    const open = isNameEnough ? listed.unknown : asked.difference(listed.absent);
    const found = isNameEnough ? new Set(listed.present) : new Set<HashPart>();
    await forEachConcurrent(
      open,
      { limit: QUESTIONS_AT_ONCE, signal },
      async (hashPart, signal) => {
        const asking = { ...request, signal };
        const bytes = await this.#objects.get(narInfoName(hashPart), asking);
        const about = { hashPart, record: records?.get(hashPart), verifies };
        const narInfo = bytes && this.#narInfos.read(bytes.toString(), about);
        if (narInfo === undefined) return;
        if (!verifies || (await this.#hasNar(narInfo, asking))) found.add(hashPart);
      },
    );
    return asked.difference(found);
  }

  async beginUpload(request: UploadRequest, signal: AbortSignal): Promise<Upload> {
    const storeDir = await this.#prepare(signal);
    if (storeDirOf(request.info.path) === storeDir) {
      const [label, objects, abortMs] = [this.#label, this.#objects, this.#abortMs];
      const replaces = this.#narInfos.isDistrusted(request.info.path);
      const whole = this.#narInfos.withOthers(request);
      return await LayoutUpload.start(
        { label, objects, request: whole, replaces, abortMs },
        signal,
      );
    }
    throw new HandpickError(
      "STORE_UNSUPPORTED",
      `Cannot write ${request.info.path} to ${this.#label}: it holds paths of ${storeDir}`,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#objects[Symbol.asyncDispose]();
  }

  async #missingObjects(names: Iterable<string>, signal: AbortSignal): Promise<Set<string>> {
    const missing = new Set<string>();
    const limit = { limit: QUESTIONS_AT_ONCE, signal };
    await forEachConcurrent(names, limit, async (name, signal) => {
      const action = `look into ${this.#label}`;
      if ((await this.#objects.get(name, { action, signal })) === undefined) missing.add(name);
    });
    return missing;
  }

  /** Makes a new cache say of which store it is, once; after a failure again. */
  async #prepare(signal: AbortSignal): Promise<string> {
    signal.throwIfAborted();
    this.#prepared ??= this.#makeInfo(signal);
    try {
      return await this.#prepared;
    } catch (error) {
      this.#prepared = undefined;
      throw error;
    }
  }

  async #makeInfo(signal: AbortSignal): Promise<string> {
    const found = await this.#readInfo(signal);
    if (found !== undefined) return found.storeDir ?? this.#storeDir;
    const bytes = new TextEncoder().encode(printNixCacheInfo({ storeDir: this.#storeDir }));
    const object = { name: CACHE_INFO_NAME, bytes, contentType: "text/x-nix-cache-info" };
    await this.#objects.put(object, { action: `write to ${this.#label}`, signal });
    return this.#storeDir;
  }

  /** @throws {HandpickError} `CACHE_PROTOCOL` if something else is in the place of `nix-cache-info`. */
  async #readInfo(signal: AbortSignal): Promise<NixCacheInfo | undefined> {
    const action = `look up ${this.#label}`;
    const bytes = await this.#objects.get(CACHE_INFO_NAME, { action, signal });
    if (bytes === undefined) return undefined;
    try {
      return parseNixCacheInfo(bytes.toString());
    } catch (cause) {
      if (!(cause instanceof FormatError)) throw cause;
      throw new HandpickError(
        "CACHE_PROTOCOL",
        `Cannot ${action}: expected nix-cache-info, received something else`,
        { cause, hint: "Check that this address is that of a binary cache, and not a page." },
      );
    }
  }

  /** Returns true as well where the NAR is on another server, or has no size that is known. */
  async #hasNar({ url, fileSize }: NarInfo, request: ObjectRequest): Promise<boolean> {
    if (!/^nar\/[\w.+-]+$/.test(url)) return true;
    const size = await this.#objects.sizeOf(url, request);
    if (size === undefined) return false;
    return fileSize === undefined || Number.isNaN(size) || size === fileSize;
  }
}
