import { sha256ToHex } from "../../nix/hash.ts";
import { baseNameOf, compareStorePaths, hashPartOf } from "../../nix/store-path.ts";
import type { UploadRequest } from "../contract.ts";

/** The record of a path as it stands before the NAR in the body of an upload. */
export interface PathDescription {
  readonly cache: string;
  readonly store_path_hash: string;
  readonly store_path: string;
  /** Base names, sorted by bytes: full paths would be served as they are. */
  readonly references: readonly string[];
  readonly system: null;
  /** A base name. */
  readonly deriver: string | null;
  /** Readers get the signature of the cache only. */
  readonly sigs: readonly string[];
  readonly ca: string | null;
  /** `sha256:` and lowercase hex. */
  readonly nar_hash: string;
  readonly nar_size: number;
}

export function describePath(
  { info }: Pick<UploadRequest, "info">,
  cacheName: string,
): PathDescription {
  const { path, references, deriver } = info;
  return {
    cache: cacheName,
    store_path_hash: hashPartOf(path),
    store_path: path,
    references: references.toSorted(compareStorePaths).map(baseNameOf),
    system: null,
    deriver: deriver === undefined ? null : baseNameOf(deriver),
    sigs: [],
    ca: info.contentAddress ?? null,
    nar_hash: `sha256:${sha256ToHex(info.narHash)}`,
    nar_size: info.narSize,
  };
}
