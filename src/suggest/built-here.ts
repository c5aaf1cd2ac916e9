import type { PathInfo } from "../nix/path-info.ts";

/** Tells the paths that an upstream signed from the others. */
export type SignedBy = (info: PathInfo) => boolean;

/**
 * Makes a check for signatures of the caches at some URLs. It goes by the names of keys, which are those of hosts with
 * a number behind: `cache.nixos.org-1`.
 */
export function signedByAny(urls: Iterable<string>): SignedBy {
  const hosts = new Set([...urls].map((url) => new URL(url).hostname));
  return ({ signatures }) =>
    signatures.some((signature) => {
      const [, host] = /^([^:]+)-\d+:/.exec(signature) ?? [];
      return host !== undefined && hosts.has(host);
    });
}

export interface BuiltHereOptions {
  readonly isFromUpstream: SignedBy;
  /** True if there is a log of its build. */
  readonly hasLog: boolean;
}

/**
 * Returns true if a path was built by this machine, or for it. Nix marks what it built itself. What a remote builder
 * built for it has no mark, and maybe a signature of the builder; but then there is a log of the build, as there is not of
 * what was fetched from a cache. What nobody signed was copied from another machine. What has a content
 * address was added or downloaded.
 */
export function isBuiltHere(info: PathInfo, { isFromUpstream, hasLog }: BuiltHereOptions): boolean {
  if (info.contentAddress !== undefined || isFromUpstream(info)) return false;
  return info.ultimate || hasLog || info.signatures.length === 0;
}
