import type { Sha256 } from "./hash.ts";
import type { StorePath } from "./store-path.ts";

/** The record of one valid path in a Nix store. */
export interface PathInfo {
  readonly path: StorePath;
  /** SHA-256 of the path's NAR in canonical spelling, `sha256:<nix32>`. */
  readonly narHash: Sha256;
  /** Size of the NAR in bytes; 0 where an old database does not know it. */
  readonly narSize: number;
  /** Sorted by bytes, each once; contains the path itself if it refers to itself. */
  readonly references: readonly StorePath[];
  /** The derivation that made it, as first seen; need not exist. */
  readonly deriver: StorePath | undefined;
  /** Seconds since 1970. */
  readonly registrationTime: number;
  /** Built by this store itself rather than copied or substituted. */
  readonly ultimate: boolean;
  /** `name:base64` each, as recorded; not verified. */
  readonly signatures: readonly string[];
  /** Content address such as `fixed:r:sha256:…`, if the path has one. */
  readonly contentAddress: string | undefined;
}

/**
 * Returns true if the path was built in this store or added to it. Nix marks builds only; of what has a
 * content address, no deriver and no signature, a cache would have known one of the two.
 */
export function isMadeHere({ ultimate, contentAddress, deriver, signatures }: PathInfo): boolean {
  const isAdded = contentAddress !== undefined && deriver === undefined && signatures.length === 0;
  return ultimate || isAdded;
}
