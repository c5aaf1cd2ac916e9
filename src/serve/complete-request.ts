import * as v from "valibot";

import { parseSha256, sha256FromHex, type Sha256 } from "../nix/hash.ts";
import {
  compareStorePaths,
  fromBaseName,
  isDerivation,
  type StorePath,
} from "../nix/store-path.ts";
import { refusal } from "./refusal.ts";

/** What a client claims when it says that all parts are there. */
export interface CompleteRequest {
  readonly parts: readonly { readonly partNumber: number; readonly eTag: string }[];
  readonly storePath: StorePath;
  readonly narHash: Sha256;
  readonly narSize: number;
  readonly fileHash: Sha256;
  readonly fileSize: number;
  readonly references: readonly StorePath[];
  readonly deriver: StorePath | undefined;
  /** Bare base64; null where the server is to sign. */
  readonly signature: string | null;
}

export const MOST_PARTS = 10_000;

const UNKNOWN_DERIVER = "unknown-deriver";
const size = v.pipe(v.number(), v.safeInteger(), v.minValue(1));

const bodySchema = v.object({
  parts: v.pipe(
    v.array(v.object({ partNumber: size, eTag: v.string() })),
    v.minLength(1),
    v.maxLength(MOST_PARTS),
  ),
  narInfoCreate: v.object({
    cStoreHash: v.string(),
    cStoreSuffix: v.string(),
    cNarHash: v.string(),
    cNarSize: size,
    cFileHash: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)),
    cFileSize: size,
    cReferences: v.array(v.string()),
    cDeriver: v.string(),
    cSig: v.nullish(v.pipe(v.string(), v.regex(/^[0-9A-Za-z+/]{86}==$/)), null),
  }),
});

/**
 * The body of `complete`, taken strictly: hashes in the one spelling each has, references sorted
 * and each once, a deriver always named. What other clients get away with elsewhere is refused
 * here, so that a client that works here works there.
 */
export const completeRequestSchema: v.GenericSchema<unknown, CompleteRequest> = v.pipe(
  bodySchema,
  v.transform(({ parts, narInfoCreate }) => toRequest(parts, narInfoCreate)),
);

function toRequest(
  parts: CompleteRequest["parts"],
  claim: v.InferOutput<typeof bodySchema>["narInfoCreate"],
): CompleteRequest {
  const narHash = parseSha256(claim.cNarHash);
  if (narHash !== claim.cNarHash) {
    throw refusal(400, "cNarHash has to be sha256: and 52 characters of Nix base-32");
  }
  if (parts.some(({ partNumber }, index) => partNumber <= (parts[index - 1]?.partNumber ?? 0))) {
    throw refusal(400, "The parts have to be in ascending order, each once");
  }
  return {
    parts,
    storePath: fromBaseName(`${claim.cStoreHash}-${claim.cStoreSuffix}`),
    narHash,
    narSize: claim.cNarSize,
    fileHash: sha256FromHex(claim.cFileHash),
    fileSize: claim.cFileSize,
    references: toReferences(claim.cReferences),
    deriver: toDeriver(claim.cDeriver),
    signature: claim.cSig,
  };
}

function toReferences(baseNames: readonly string[]): StorePath[] {
  const references = baseNames.map((baseName) => fromBaseName(baseName));
  const isSorted = references.every((reference, index) => {
    const before = references[index - 1];
    return before === undefined || compareStorePaths(before, reference) < 0;
  });
  if (!isSorted) throw refusal(400, "cReferences has to be sorted by bytes, each path once");
  return references;
}

function toDeriver(baseName: string): StorePath | undefined {
  if (baseName === UNKNOWN_DERIVER) return undefined;
  const deriver = fromBaseName(baseName);
  if (!isDerivation(deriver)) throw refusal(400, "cDeriver has to end in .drv");
  return deriver;
}
