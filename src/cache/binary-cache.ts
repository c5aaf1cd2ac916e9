import { FormatError } from "../nix/format-error.ts";
import { type NarInfo, parseNarInfo } from "../nix/narinfo.ts";
import { printRealisation, type Realisation } from "../nix/realisation.ts";
import {
  baseNameOf,
  compareStorePaths,
  type HashPart,
  storeDirOf,
  type StorePath,
} from "../nix/store-path.ts";
import type { CacheKind, CompanionKey } from "./kind.ts";
import type { Companion, Compression, PackedFile, UploadRequest } from "./contract.ts";

/** The file at the root of a cache that says which store it is of. */
export const CACHE_INFO_NAME: string = "nix-cache-info";

/** The settings that add small files beside the paths of a cache in this layout. */
export const COMPANION_KEYS: readonly CompanionKey[] = ["listings", "build-logs", "realisations"];

/** Such a cache does not sign itself. */
export const SIGNED_BY_US: Pick<CacheKind, "key" | "noKeysHint"> = {
  // Readers find a key by its name, so it has to have one.
  key: { variable: undefined, defaultName: () => undefined },
  noKeysHint:
    "Sign with signing-key-file; readers have the public key in trusted-public-keys of nix.conf.",
};

/** How the names of NARs end. */
export const NAR_SUFFIXES: Readonly<Record<Compression, string>> = {
  zstd: ".nar.zst",
  xz: ".nar.xz",
  none: ".nar",
};

/** In bytes; no narinfo that Nix or handpick writes comes near. */
export const LONGEST_NARINFO: number = 2 ** 20;

/**
 * Reads the narinfo that a cache has of a path.
 *
 * @param action For messages, as it follows "Cannot".
 * @throws {FormatError} If it is none, or that of another path.
 */
export function parseNarInfoOf(path: StorePath, text: string, action: string): NarInfo {
  const narInfo = parseNarInfo(text, { storeDir: storeDirOf(path) });
  if (narInfo.storePath === path) return narInfo;
  const found = `expected that of ${path}, found that of ${narInfo.storePath}`;
  throw new FormatError("narinfo", `Cannot ${action}: ${found}`);
}

/** The name of the narinfo of a path, at the root of a cache. */
export function narInfoName(hashPart: HashPart): string {
  return `${hashPart}.narinfo`;
}

/** The listing of the NAR of a path. */
export function listingOf(hashPart: HashPart, text: string): Companion {
  const bytes = new TextEncoder().encode(text);
  return { name: `${hashPart}.ls`, contentType: "application/json", bytes };
}

/** The log of the build that made a path. It is plain text: Nix 2.34 reads no bzip2 from a cache. */
export function buildLogOf(deriver: StorePath, bytes: Uint8Array<ArrayBuffer>): Companion {
  return { name: `log/${baseNameOf(deriver)}`, contentType: "text/plain; charset=utf-8", bytes };
}

/** The file of a realisation, under the name where Nix up to 2.34 looks for it. */
export function realisationOf(realisation: Realisation): Companion {
  const bytes = new TextEncoder().encode(printRealisation(realisation));
  return { name: `realisations/${realisation.id}.doi`, contentType: "application/json", bytes };
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
