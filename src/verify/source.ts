import type { CacheReader } from "../cache/contract.ts";
import { HandpickError } from "../error.ts";
import { FormatError } from "../nix/format-error.ts";
import type { PublicKey } from "../nix/key.ts";
import type { NarInfo } from "../nix/narinfo.ts";
import { fingerprint, verifyFingerprint } from "../nix/signature.ts";
import type { StorePath } from "../nix/store-path.ts";
import type { Fault } from "./fault.ts";

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
  const fault = looksAtNars ? await narFault(narInfo, reader, signal) : undefined;
  return fault === undefined ? { narInfo } : { fault: { server, ...fault } };
}

/** Says why a reader does not trust a narinfo; undefined if it does. Content addresses vouch for themselves. */
export function distrustOf(
  narInfo: NarInfo,
  keys: readonly PublicKey[] | undefined,
): Omit<Fault, "server"> | undefined {
  const { ca, signatures } = narInfo;
  if (ca !== undefined) return undefined;
  if (signatures.length === 0) return { code: "unsigned" };
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

async function narFault(
  { url, fileSize }: NarInfo,
  reader: CacheReader,
  signal: AbortSignal,
): Promise<Omit<Fault, "server"> | undefined> {
  let size: number | undefined;
  try {
    size = await reader.narSize(url, signal);
  } catch (error) {
    if (!(error instanceof HandpickError) || error.code !== "CACHE_PROTOCOL") throw error;
    return { code: "nar-damaged", detail: error.message };
  }
  if (size === undefined) return { code: "nar-missing" };
  if (fileSize === undefined || Number.isNaN(size) || size === fileSize) return undefined;
  return { code: "nar-size", detail: `${size} bytes, and not ${fileSize}` };
}
