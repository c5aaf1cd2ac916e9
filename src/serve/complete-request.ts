import * as v from "valibot";

import { FormatError } from "../nix/format-error.ts";
import { parseSha256, sha256FromHex, type Sha256 } from "../nix/hash.ts";
import {
  compareStorePaths,
  fromBaseName,
  isDerivation,
  parseHashPart,
  type StorePath,
} from "../nix/store-path.ts";
import { refusal } from "./refusal.ts";

/** The claims of a client that says that all parts are there. */
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
  const narHash = field("cNarHash", () => parseSha256(claim.cNarHash));
  if (narHash !== claim.cNarHash) {
    throw refusal(400, "cNarHash has to be sha256: and 52 characters of Nix base-32");
  }
  if (parts.some(({ partNumber }, index) => partNumber <= (parts[index - 1]?.partNumber ?? 0))) {
    throw refusal(400, "The parts have to be in ascending order, each once");
  }
  return {
    parts,
    storePath: toStorePath(claim.cStoreHash, claim.cStoreSuffix),
    narHash,
    narSize: claim.cNarSize,
    fileHash: sha256FromHex(claim.cFileHash),
    fileSize: claim.cFileSize,
    references: field("cReferences", () => toReferences(claim.cReferences)),
    deriver: field("cDeriver", () => toDeriver(claim.cDeriver)),
    signature: claim.cSig,
  };
}

/**
 * Joins what clients send apart. A suffix with the dash that stands between would make the path of
 * another name, which no reader asks for; a name of Nix may begin so, and goes elsewhere.
 */
function toStorePath(hash: string, suffix: string): StorePath {
  const hashPart = field("cStoreHash", () => parseHashPart(hash));
  if (suffix.startsWith("-")) {
    throw refusal(400, "cStoreSuffix must not begin with a dash: it is what follows HASH-");
  }
  return field("cStoreSuffix", () => fromBaseName(`${hashPart}-${suffix}`));
}

/** Names the field that does not follow its format. */
function field<T>(name: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    throw refusal(400, `${name}: ${error.message}`);
  }
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
