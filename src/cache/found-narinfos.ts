import { isContentAddressed } from "../nix/content-address.ts";
import { FormatError } from "../nix/format-error.ts";
import type { PublicKey } from "../nix/key.ts";
import { type NarCompression, type NarInfo, parseNarInfo } from "../nix/narinfo.ts";
import type { PathInfo } from "../nix/path-info.ts";
import { fingerprint, parseSignature, verifyFingerprint } from "../nix/signature.ts";
import { DEFAULT_STORE_DIR, type HashPart, hashPartOf, type StorePath } from "../nix/store-path.ts";
import type { UploadRequest } from "./contract.ts";

/** The keys by which a narinfo is judged that is in a cache already. */
export interface KnownKeys {
  /** Keys that readers may trust, ours among them. */
  readonly publicKeys: readonly PublicKey[];
  /** True if readers trust no others. */
  readonly areAll: boolean;
  /** True if we sign what we push. */
  readonly signs: boolean;
  /** True if readers get the signatures of others, too. */
  readonly keepsOthers: boolean;
}

const NO_KEYS: KnownKeys = { publicKeys: [], areAll: false, signs: false, keepsOthers: true };

/** A path that is asked for. */
export interface Asked {
  readonly hashPart: HashPart;
  /** The record of our store, which is what a push of ours would publish; undefined if there is none. */
  readonly record: PathInfo | undefined;
  /** False to believe the signatures of a narinfo that says what our record says: to verify one takes 0.2 ms. */
  readonly verifies: boolean;
}

const NAMED_FOR_HASH = /^nar\/([0-9a-df-np-sv-z]{52})\.nar/;
/** The methods for which Nix has an ending. */
const ENDINGS: ReadonlyMap<string, NarCompression> = new Map([
  ["xz", "xz"],
  ["bz2", "bzip2"],
  ["zst", "zstd"],
  ["lzip", "lzip"],
  ["lz4", "lz4"],
  ["br", "br"],
]);

/**
 * Judges narinfos that are in a cache already, and that others may have written, changed or cut. One that is
 * damaged, or that readers refuse while they would take ours, counts for nothing: its path is published again.
 *
 * Another machine may have built the path with other content. That is no damage, so a narinfo that contradicts
 * our record counts if a known key signed it, and if only keys signed it that we do not know.
 */
export class FoundNarInfos {
  readonly #storeDir: string;
  readonly #keys: KnownKeys;
  readonly #names: ReadonlySet<string | undefined>;
  /** Signatures by unknown keys over what our records say, too. */
  readonly #others = new Map<HashPart, readonly string[]>();
  readonly #unread = new Set<HashPart>();

  constructor({
    storeDir = DEFAULT_STORE_DIR,
    keys = NO_KEYS,
  }: {
    readonly storeDir?: string | undefined;
    readonly keys?: KnownKeys | undefined;
  }) {
    this.#storeDir = storeDir;
    this.#keys = keys;
    this.#names = new Set(keys.publicKeys.map(({ name }) => name));
  }

  /** True if a name without its narinfo says enough of a path, unless more than its presence is asked for. */
  get areNamesEnough(): boolean {
    return !this.#keys.signs;
  }

  /** Takes note of paths that readers do not get, whatever we think of their narinfos. */
  distrust(unread: Iterable<HashPart>): void {
    for (const hashPart of unread) this.#unread.add(hashPart);
  }

  /** Returns true if nothing that the cache has of the path is to be kept. */
  isDistrusted(path: StorePath): boolean {
    return this.#unread.has(hashPartOf(path));
  }

  /** Reads the narinfo that a cache has of a path; undefined if it counts for nothing. */
  read(text: string, asked: Asked): NarInfo | undefined {
    const found = tryParseNarInfo(text, this.#storeDir);
    if (found === undefined || hashPartOf(found.storePath) !== asked.hashPart) return undefined;
    const { record, hashPart } = asked;
    const agrees = record !== undefined && saysSame(found, record);
    const others = found.signatures.filter((text) => !this.#isInKnownName(text));
    if (agrees && others.length > 0) this.#others.set(hashPart, others);
    return this.#isIntact(found, { ...asked, agrees }) ? found : undefined;
  }

  /** Adds the signatures of others that the narinfo in the cache has, and that the one in its place is to keep. */
  withOthers(request: UploadRequest): UploadRequest {
    const { path } = request.info;
    const others = this.#others.get(hashPartOf(path));
    if (others === undefined || !this.#keys.keepsOthers || this.isDistrusted(path)) return request;
    return { ...request, signatures: [...new Set([...request.signatures, ...others])] };
  }

  #isIntact(found: NarInfo, asked: Asked & { readonly agrees: boolean }): boolean {
    const { record, agrees, verifies } = asked;
    const { publicKeys, signs, areAll } = this.#keys;
    if (!isConsistent(found) || (record !== undefined && found.storePath !== record.path)) {
      return false;
    }
    const isAddressed = found.ca !== undefined && isContentAddressed({ ...found, ca: found.ca });
    // Nix refuses a wrong one even where there is a signature.
    if (found.ca !== undefined && !isAddressed && found.ca !== record?.contentAddress) return false;
    const isSigned = found.signatures.length > 0;
    if (agrees && isSigned && !verifies) return true;
    const line = fingerprint(found);
    if (found.signatures.some((one) => verifyFingerprint(line, one, publicKeys))) return true;
    if (!agrees && record !== undefined && isOfSameContent(found, record)) return false;
    if (isAddressed) return true;
    const isAddressLost = record?.contentAddress !== undefined && found.ca === undefined;
    if (!isSigned) return !signs && !isAddressLost;
    return !this.#hasForged(found, record) && !(areAll && signs && agrees);
  }

  /**
   * Returns true if a signature is in the name of a known key, and not by that key. Our store may have the same
   * one: then a push does not make it better.
   */
  #hasForged({ signatures }: NarInfo, record: PathInfo | undefined): boolean {
    return signatures.some(
      (text) => this.#isInKnownName(text) && record?.signatures.includes(text) !== true,
    );
  }

  #isInKnownName(signature: string): boolean {
    return this.#names.has(parseSignature(signature).name);
  }
}

/** Reads a narinfo; undefined if it is none. */
export function tryParseNarInfo(text: string, storeDir: string): NarInfo | undefined {
  try {
    return parseNarInfo(text, { storeDir });
  } catch (error) {
    if (error instanceof FormatError) return undefined;
    throw error;
  }
}

/** Returns false if the parts of a narinfo that no signature covers contradict each other. */
export function isConsistent(found: NarInfo): boolean {
  const { url, compression, fileHash, fileSize, narHash, narSize } = found;
  const ending = ENDINGS.get(/\.nar\.(\w+)$/.exec(url)?.[1] ?? "");
  if (ending !== undefined && ending !== compression) return false;
  if (compression === "none" && fileSize !== undefined && fileSize !== narSize) return false;
  if (fileHash === undefined) return true;
  if ((compression === "none") !== (fileHash === narHash)) return false;
  const [, digest] = NAMED_FOR_HASH.exec(url) ?? [];
  return digest === undefined || [fileHash, narHash].some((hash) => hash.endsWith(digest));
}

/** Returns true if both say the same of what a signature covers. */
function saysSame(found: NarInfo, record: PathInfo): boolean {
  const narSize = record.narSize === 0 ? found.narSize : record.narSize;
  return fingerprint(found) === fingerprint({ ...record, storePath: record.path, narSize });
}

/** The content of a path that is named for it is the same wherever it was made. */
function isOfSameContent({ narHash }: NarInfo, record: PathInfo): boolean {
  return narHash === record.narHash || record.contentAddress !== undefined;
}
