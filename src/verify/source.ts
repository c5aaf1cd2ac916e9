import type { CacheReader } from "../cache/reader.ts";
import { HandpickError } from "../error.ts";
import { type ContentAddress, givesPath, parseContentAddress } from "../nix/content-address.ts";
import { FormatError, quote } from "../nix/format-error.ts";
import { sha256FromDigest } from "../nix/hash.ts";
import type { PublicKey } from "../nix/key.ts";
import type { NarCompression, NarInfo } from "../nix/narinfo.ts";
import { fingerprint, verifyFingerprint } from "../nix/signature.ts";
import type { StorePath } from "../nix/store-path.ts";
import type { Fault } from "./fault.ts";
import { patiently } from "./patiently.ts";

/** The first bytes of files by compression; brotli has none of its own. */
const BEGINS: Partial<Record<NarCompression, readonly Buffer[]>> = {
  none: [Buffer.from("0d000000000000006e69782d61726368", "hex")],
  zstd: [Buffer.from("28b52ffd", "hex"), ...skippableFrames()],
  xz: [Buffer.from("fd377a585a00", "hex")],
  gzip: [Buffer.from("1f8b", "hex")],
  bzip2: [Buffer.from("BZh")],
};
const LONGEST_BEGIN = 16;

/** A server that readers ask, with the keys by which they trust it. */
export interface Source {
  readonly reader: CacheReader;
  /** Undefined where nobody says which keys readers have: then any signature will do. */
  readonly keys: readonly PublicKey[] | undefined;
  /** True to see that the NARs are there too. */
  readonly looksAtNars: boolean;
}

/** The narinfo of a path that a server serves, or why it does not. */
export type Look = { readonly narInfo: NarInfo } | { readonly fault: Fault };

/**
 * Asks a server once for its `nix-cache-info`: without one, or with that of another store, Nix asks it for nothing.
 *
 * @returns False if there is none.
 * @throws {HandpickError} `CACHE_PROTOCOL` or `STORE_UNSUPPORTED` if it is no cache of this store; where it gives
 *   no answer, as the reader says.
 */
export async function hasCacheInfo(
  storeDir: string,
  { reader }: Source,
  signal: AbortSignal,
): Promise<boolean> {
  const action = `read ${reader.url} as Nix does`;
  let found: string | undefined;
  try {
    ({ storeDir: found } = await reader.info(signal));
  } catch (cause) {
    if (!(cause instanceof FormatError)) throw cause;
    const message = `Cannot ${action}: expected nix-cache-info, found something else`;
    throw new HandpickError("CACHE_PROTOCOL", message, {
      cause,
      hint: "Check the address of readers.",
    });
  }
  if (found === undefined) return false;
  if (found === storeDir) return true;
  const message = `Cannot ${action}: expected paths of ${storeDir}, found those of ${quote(found)}`;
  throw new HandpickError("STORE_UNSUPPORTED", message, {
    hint: "Nix takes nothing from a cache of another store.",
  });
}

/**
 * Asks one server for one path, as a reader would that requires signatures.
 *
 * @throws {HandpickError} Where the server gives no answer.
 */
export async function look(path: StorePath, source: Source, signal: AbortSignal): Promise<Look> {
  const { reader, keys, looksAtNars } = source;
  const server = reader.url;
  let narInfo: NarInfo | undefined;
  try {
    narInfo = await reader.narInfo(path, signal);
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    return { fault: { code: "damaged", server, detail: error.message } };
  }
  if (narInfo === undefined) return { fault: { code: "missing", server } };
  const distrust = distrustOf(narInfo, keys);
  if (distrust !== undefined) return { fault: { server, ...distrust } };
  try {
    const fault = looksAtNars ? await narFault(narInfo, reader, signal) : undefined;
    return fault === undefined ? { narInfo } : { fault: { server, ...fault } };
  } catch (error) {
    if (!(error instanceof HandpickError) || error.code !== "CACHE_PROTOCOL") throw error;
    return { fault: { code: "nar-damaged", server, detail: error.message } };
  }
}

/**
 * Says why a reader does not trust a narinfo; undefined if it does. A content address vouches for a path that it
 * gives, and for no other.
 */
export function distrustOf(
  narInfo: NarInfo,
  keys: readonly PublicKey[] | undefined,
): Omit<Fault, "server"> | undefined {
  const { ca, signatures } = narInfo;
  const address = ca === undefined ? undefined : parseContentAddress(ca);
  const isGiven = address !== undefined && givesPath(address, narInfo);
  if (isGiven) return addressFault(address, narInfo);
  if (signatures.length === 0) {
    const detail = address && "its content address is that of another path";
    return { code: "unsigned", ...(detail === undefined ? {} : { detail }) };
  }
  if (keys === undefined) return undefined;
  const line = fingerprint(narInfo);
  if (signatures.some((one) => verifyFingerprint(line, one, keys))) return undefined;
  const names = signatures.map((one) => one.slice(0, one.indexOf(":")));
  const known = names.find((name) => keys.some((key) => key.name === name));
  const detail =
    known === undefined
      ? `it is signed by ${names.join(" and ")}`
      : `that of ${known} is not over what the narinfo says`;
  return { code: "untrusted", detail };
}

/** The hash of a whole NAR stands twice in a narinfo; Nix refuses a NAR that does not have both. */
function addressFault(
  { method, hash }: ContentAddress,
  { storePath, references, narHash }: NarInfo,
): Omit<Fault, "server"> | undefined {
  const isOfNar = method === "recursive" && hash.algorithm === "sha256";
  if (!isOfNar || references.includes(storePath)) return undefined;
  if (sha256FromDigest(hash.digest) === narHash) return undefined;
  return { code: "damaged", detail: "its content address is that of another NAR" };
}

async function narFault(
  narInfo: NarInfo,
  reader: CacheReader,
  signal: AbortSignal,
): Promise<Omit<Fault, "server"> | undefined> {
  const { url, fileSize } = narInfo;
  const size = await reader.narSize(url, signal);
  if (size === undefined) return { code: "nar-missing" };
  if (fileSize === undefined || Number.isNaN(size))
    return await beginFault(narInfo, reader, signal);
  if (size === fileSize) return undefined;
  return { code: "nar-size", detail: `${size} bytes, and not ${fileSize}` };
}

/** Where sizes say nothing, a page in the place of a NAR shows by its first bytes. */
async function beginFault(
  { url, compression }: NarInfo,
  reader: CacheReader,
  signal: AbortSignal,
): Promise<Omit<Fault, "server"> | undefined> {
  const begins = BEGINS[compression];
  if (begins === undefined) return undefined;
  const bytes = await patiently(signal, async () => {
    const read: Uint8Array[] = [];
    const range = [0, LONGEST_BEGIN - 1] as const;
    for await (const chunk of reader.nar(url, { signal, range })) read.push(chunk);
    return Buffer.concat(read);
  });
  if (begins.some((begin) => bytes.subarray(0, begin.length).equals(begin))) return undefined;
  const format = compression === "none" ? "NAR" : `file of ${compression}`;
  return { code: "nar-damaged", detail: `it does not begin as a ${format} does` };
}

/** A file of zstd may begin with a frame for other programs. */
function skippableFrames(): Buffer[] {
  return Array.from({ length: 16 }, (_, index) => Buffer.from([0x50 + index, 0x2a, 0x4d, 0x18]));
}
