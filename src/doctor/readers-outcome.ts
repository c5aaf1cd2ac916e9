import type { CacheInfo } from "../cache/contract.ts";
import { excerpt } from "../http/excerpt.ts";
import type { OpenedCache } from "../run/open-caches.ts";
import { readerKeys } from "../run/reader-keys.ts";
import { signOptions } from "../run/signatures.ts";
import { ok, type Outcome } from "./check.ts";

/** Says who signs for the readers of a cache, and which lines of `nix.conf` they need. */
export function readersOutcome(opened: OpenedCache, info: CacheInfo): Outcome {
  const keys = readerKeys(opened, info);
  const lines = [
    "Readers need in nix.conf:",
    `extra-substituters = ${info.readUrl}`,
    ...(keys.length === 0
      ? []
      : [`extra-trusted-public-keys = ${keys.map((key) => excerpt(key)).join(" ")}`]),
  ];
  if (info.isPublic === false && /^https?:/.test(info.readUrl)) {
    lines.push(`netrc-file = FILE, with a line for machine ${new URL(info.readUrl).hostname}`);
  }
  return { ...ok(signersText(opened)), hint: lines.join("\n") };
}

function signersText(opened: OpenedCache): string {
  const { signer, sign, signingKey } = signOptions(opened);
  const ours = signingKey === undefined || sign === "none" ? undefined : signingKey.name;
  if (signer === "cache") return "signed by the server";
  if (signer === "either") return `signed by ${ours ?? "the cache"}`;
  if (ours === undefined) return "signed by those whose signatures the store has, and not by us";
  return `signed by ${ours}${sign === "own" ? " only" : ", besides the signatures that the store has"}`;
}
