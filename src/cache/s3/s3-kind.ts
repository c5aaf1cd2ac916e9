import { NIXOS_CACHE } from "../../nix/nixos-cache.ts";
import { COMPANION_KEYS, SIGNED_BY_US } from "../binary-cache.ts";
import { type CacheKind, READER_KEYS } from "../kind.ts";
import { canonicalS3Url, guessS3Url, parseS3Url, s3FoundFault, s3UrlFault } from "./s3-url.ts";

/** Buckets at AWS, and at servers with its protocol, in the layout that Nix reads at s3://. */
export const s3Kind: CacheKind = {
  scheme: "s3",
  form: "s3://BUCKET",
  example: "s3://my-bucket",
  urlFault: s3UrlFault,
  textFault: () => undefined,
  canonicalUrl: canonicalS3Url,
  guessUrl: guessS3Url,
  folderOf: () => undefined,
  serverOf: (url) => parseS3Url(url).endpoint,
  foundFault: s3FoundFault,
  needsTable: true,
  keys: new Set([...READER_KEYS, ...COMPANION_KEYS]),
  // The AWS SDK finds credentials where all its programs do.
  token: undefined,
  ...SIGNED_BY_US,
  client: undefined,
  isOwnHost: () => false,
  upstreams: [NIXOS_CACHE],
  readOnlyHint:
    "Check that the policy of the bucket lets these credentials s3:PutObject and s3:AbortMultipartUpload.",
  noPruneHint: undefined,
  // The SDK is most of the program, and loads for those only who have such a cache.
  open: async (options) => (await import("./s3-cache.ts")).createS3Cache(options),
};
