import { lstat } from "node:fs/promises";
import { join } from "node:path";

import { systemClock, type Clock } from "../../clock.ts";
import { HandpickError } from "../../error.ts";
import { systemCode } from "../../files/system-code.ts";
import { FormatError } from "../../nix/format-error.ts";
import type { NarInfo } from "../../nix/narinfo.ts";
import { DEFAULT_STORE_DIR, type HashPart, storeDirOf } from "../../nix/store-path.ts";
import { orAborted } from "../../or-aborted.ts";
import { LONGEST_NARINFO, narInfoName } from "../binary-cache.ts";
import type {
  Cache,
  CacheCompanions,
  CacheInfo,
  CacheTraits,
  Companion,
  MissingOptions,
  Upload,
  UploadRequest,
} from "../contract.ts";
import type { CacheReader } from "../reader.ts";
import type { CachePruner } from "../pruner.ts";
import { ANY_PARTS } from "../contract.ts";
import { forEachConcurrent } from "../for-each-concurrent.ts";
import { FoundNarInfos } from "../found-narinfos.ts";
import type { OpenCacheOptions } from "../kind.ts";
import { CacheFolder, orAbsent, readText } from "./cache-folder.ts";
import { CompanionFiles } from "./companion-files.ts";
import { fileError, type FileErrorOptions } from "./file-error.ts";
import { FilePruner } from "./file-pruner.ts";
import { FileUpload } from "./file-upload.ts";
import { FolderCommits } from "./folder-commits.ts";
import { createFileReader } from "./file-reader.ts";
import { hashFile } from "./hash-file.ts";

const TRAITS: CacheTraits = {
  compressions: new Set(["zstd", "xz", "none"]),
  closureRule: "client",
  signer: "client",
  parts: ANY_PARTS,
};

/** Looks at files at once: Node has four threads for them, and a share that hangs leaves one to other caches. */
const LOOKS_AT_ONCE = 3;
/** A NAR in the folder itself. */
const NAR_URL = /^nar\/[\w.+-]{1,200}$/;

export interface FileCacheOptions extends Pick<
  OpenCacheOptions,
  "name" | "storeDir" | "keys" | "clock"
> {
  /** Absolute; made when something is written first. A link to a folder is followed, one in it is not. */
  readonly dir: string;
}

/** Opens a cache that is a folder, as `file:///DIR` names it. Nothing is looked at or made yet. */
export function createFileCache(options: FileCacheOptions): Cache {
  return new FileCache(options);
}

class FileCache implements Cache {
  readonly name: string;
  readonly traits = TRAITS;
  readonly companions: CacheCompanions;
  readonly pruner: CachePruner;
  readonly #label: string;
  readonly #folder: CacheFolder;
  readonly #storeDir: string;
  readonly #narInfos: FoundNarInfos;
  readonly #clock: Clock;
  readonly #commits: { readonly nars: FolderCommits; readonly narInfos: FolderCommits };
  readonly #files: CompanionFiles;
  #preparing: Promise<string> | undefined;
  /** The store that the cache is of, once it can be written to. */
  #writableStore: string | undefined;

  constructor({ name, dir, storeDir, keys, clock }: FileCacheOptions) {
    this.name = name;
    this.#label = `cache ${JSON.stringify(name)}`;
    this.#folder = new CacheFolder(dir);
    this.#storeDir = storeDir ?? DEFAULT_STORE_DIR;
    this.#narInfos = new FoundNarInfos({ storeDir, keys });
    this.#clock = clock ?? systemClock;
    this.#commits = {
      nars: new FolderCommits(this.#folder.narDir, this.#folder),
      narInfos: new FolderCommits(this.#folder.dir, this.#folder),
    };
    this.#files = new CompanionFiles(this.#folder, this.#commits.narInfos);
    this.companions = {
      missing: (names, signal) => this.#missingFiles(names, signal),
      put: (companion, signal) => this.#putFile(companion, signal),
    };
    this.pruner = new FilePruner({
      label: this.#label,
      folder: this.#folder,
      companions: this.companions,
      clock: this.#clock,
      atOnce: LOOKS_AT_ONCE,
    });
  }

  async info(signal: AbortSignal): Promise<CacheInfo> {
    const looking = { action: `look up ${this.#label}`, isReading: true, signal };
    return await this.#explained(looking, async () => {
      const { storeDir = this.#storeDir, priority } = await this.#folder.info();
      return {
        readUrl: this.#folder.url,
        storeDir,
        priority,
        publicKeys: undefined,
        isPublic: false,
        writable: await this.#folder.isWritable(),
        preferredCompression: undefined,
      };
    });
  }

  async missing(
    hashParts: Iterable<HashPart>,
    signal: AbortSignal,
    { closeness = "narinfo", records, unread = [] }: MissingOptions = {},
  ): Promise<Set<HashPart>> {
    this.#narInfos.distrust(unread);
    const verifies = closeness !== "narinfo";
    const asked = new Set(hashParts);
    const looking = { action: `look into ${this.#label}`, isReading: true, signal };
    return await this.#explained(looking, async () => {
      if (!(await this.#folder.exists())) return asked;
      const found = new Set<HashPart>();
      await forEachConcurrent(asked, { limit: LOOKS_AT_ONCE, signal }, async (hashPart, signal) => {
        const text = await this.#narInfoText(hashPart);
        const about = { hashPart, record: records?.get(hashPart), verifies };
        const narInfo = this.#narInfos.read(text ?? "", about);
        if (narInfo === undefined || !(await this.#hasNar(narInfo))) return;
        if (closeness !== "bytes" || (await this.#isUnchanged(narInfo, signal))) {
          found.add(hashPart);
        }
      });
      return asked.difference(found);
    });
  }

  async beginUpload(request: UploadRequest, signal: AbortSignal): Promise<Upload> {
    const [folder, label, commits] = [this.#folder, this.#label, this.#commits];
    signal.throwIfAborted();
    const storeDir = this.#writableStore ?? (await this.#prepare(signal));
    if (storeDirOf(request.info.path) === storeDir) {
      return new FileUpload({
        label,
        folder,
        commits,
        request: this.#narInfos.withOthers(request),
      });
    }
    throw new HandpickError(
      "STORE_UNSUPPORTED",
      `Cannot write ${request.info.path} to ${label}: it holds paths of ${storeDir}`,
    );
  }

  openReader(): CacheReader {
    return createFileReader({ dir: this.#folder.dir });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled([
      this.#commits.nars[Symbol.asyncDispose](),
      this.#files[Symbol.asyncDispose](),
    ]);
  }

  async #missingFiles(names: Iterable<string>, signal: AbortSignal): Promise<Set<string>> {
    const missing = new Set<string>();
    const looking = { action: `look into ${this.#label}`, isReading: true, signal };
    await this.#explained(looking, () =>
      forEachConcurrent(names, { limit: LOOKS_AT_ONCE, signal }, async (name) => {
        if (!(await this.#files.has(name))) missing.add(name);
      }),
    );
    return missing;
  }

  /** Is not left alone while it is written, as one could be that hangs and is only read. */
  async #putFile(companion: Companion, signal: AbortSignal): Promise<void> {
    await this.#prepare(signal);
    const action = `write ${JSON.stringify(companion.name)} to ${this.#label}`;
    try {
      await this.#files.put(companion);
    } catch (error) {
      throw await fileError(error, { action, dir: this.#folder.dir });
    }
  }

  /** Makes the folder ready for writing, once; after a failure again. */
  async #prepare(signal: AbortSignal): Promise<string> {
    const preparing = (this.#preparing ??= this.#folder.prepare(this.#storeDir, this.#clock));
    const forget = (error: unknown): never => {
      this.#preparing = undefined;
      throw error;
    };
    const action = `write to ${this.#label}`;
    const prepared = await this.#explained({ action, signal }, () => preparing.catch(forget));
    this.#writableStore = prepared;
    return prepared;
  }

  /** Undefined as well where it may not be read: then readers do not get the path either. */
  async #narInfoText(hashPart: HashPart): Promise<string | undefined> {
    const file = join(this.#folder.dir, narInfoName(hashPart));
    const limits = { maxBytes: LONGEST_NARINFO, format: "narinfo" } as const;
    return await readText(file, limits).catch(unreadable);
  }

  /** Returns false where the NAR is not there in its size, as after a power cut or a careless hand. */
  async #hasNar({ url, fileSize }: NarInfo): Promise<boolean> {
    if (!NAR_URL.test(url)) return false;
    const status = await orAbsent(lstat(join(this.#folder.dir, url)));
    return status?.isFile() === true && (fileSize === undefined || status.size === fileSize);
  }

  /** Reads all of a NAR. */
  async #isUnchanged({ url, fileHash }: NarInfo, signal: AbortSignal): Promise<boolean> {
    if (fileHash === undefined) return true;
    const found = await hashFile(join(this.#folder.dir, url), signal).catch(unreadable);
    return found === fileHash;
  }

  async #explained<T>(
    { signal, ...options }: Omit<FileErrorOptions, "dir"> & { readonly signal: AbortSignal },
    task: () => Promise<T>,
  ): Promise<T> {
    signal.throwIfAborted();
    try {
      return await orAborted(task(), signal);
    } catch (error) {
      throw await fileError(error, { ...options, dir: this.#folder.dir });
    }
  }
}

function unreadable(error: unknown): undefined {
  if (error instanceof FormatError || systemCode(error) === "EACCES") return undefined;
  throw error;
}
