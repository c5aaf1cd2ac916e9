import type { NarInfo } from "../nix/narinfo.ts";
import { compareStorePaths, type HashPart } from "../nix/store-path.ts";
import type { Compression, PackedFile, UploadRequest } from "./contract.ts";

/** The file at the root of a cache that says which store it is of. */
export const CACHE_INFO_NAME: string = "nix-cache-info";

/** How the names of NARs end. */
export const NAR_SUFFIXES: Readonly<Record<Compression, string>> = {
  zstd: ".nar.zst",
  xz: ".nar.xz",
  none: ".nar",
};

/** The name of the narinfo of a path, at the root of a cache. */
export function narInfoName(hashPart: HashPart): string {
  return `${hashPart}.narinfo`;
}

/** The narinfo that readers get of an upload. Its NAR is named for its hash, as Nix names it. */
export function narInfoOf(
  { info, compression, signatures }: UploadRequest,
  { fileHash, fileSize }: PackedFile,
): NarInfo {
  const [, digest = ""] = fileHash.split(":");
  return {
    storePath: info.path,
    url: `nar/${digest}${NAR_SUFFIXES[compression]}`,
    compression,
    fileHash,
    fileSize,
    narHash: info.narHash,
    narSize: info.narSize,
    references: info.references.toSorted(compareStorePaths),
    deriver: info.deriver,
    system: undefined,
    signatures,
    ca: info.contentAddress,
  };
}
