import { sha256ToHex } from "../../nix/hash.ts";
import {
  baseNameOf,
  compareStorePaths,
  hashPartOf,
  isDerivation,
  nameOf,
} from "../../nix/store-path.ts";
import type { PackedFile, UploadRequest } from "../contract.ts";

/** The narinfo as `complete` wants it. The same kinds of value have different spellings here. */
export interface NarInfoCreate {
  readonly cStoreHash: string;
  readonly cStoreSuffix: string;
  /** `sha256:` and Nix base-32. */
  readonly cNarHash: string;
  readonly cNarSize: number;
  /** Lowercase hex without prefix. */
  readonly cFileHash: string;
  readonly cFileSize: number;
  /** Base names, sorted by bytes. */
  readonly cReferences: readonly string[];
  /** A base name that ends in `.drv`, or `unknown-deriver`. */
  readonly cDeriver: string;
  /** Base64 without key name; null where the service signs. */
  readonly cSig: string | null;
}

export function narInfoCreate(
  { info, signatures: [signature] }: Pick<UploadRequest, "info" | "signatures">,
  file: PackedFile,
): NarInfoCreate {
  const { path, references, deriver } = info;
  return {
    cStoreHash: hashPartOf(path),
    cStoreSuffix: nameOf(path),
    cNarHash: info.narHash,
    cNarSize: info.narSize,
    cFileHash: sha256ToHex(file.fileHash),
    cFileSize: file.fileSize,
    cReferences: references.toSorted(compareStorePaths).map(baseNameOf),
    cDeriver:
      deriver !== undefined && isDerivation(deriver) ? baseNameOf(deriver) : "unknown-deriver",
    cSig: signature === undefined ? null : signature.slice(signature.indexOf(":") + 1),
  };
}
