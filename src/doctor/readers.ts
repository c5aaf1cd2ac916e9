import type { CacheInfo } from "../cache/contract.ts";
import { excerpt } from "../http/excerpt.ts";
import type { Outcome } from "./check.ts";

/** Says who reads a cache that names its keys, and has the lines that readers add; undefined for other caches. */
export function readersOutcome({ readUrl, publicKeys, isPublic }: CacheInfo): Outcome | undefined {
  if (publicKeys === undefined || publicKeys.length === 0) return undefined;
  const keys = publicKeys.map((key) => excerpt(key)).join(" ");
  const { hostname } = new URL(readUrl);
  const lines = [
    "nix.conf of readers:",
    `extra-substituters = ${readUrl}`,
    `extra-trusted-public-keys = ${keys}`,
    ...(isPublic === false ? ["netrc of readers:", `machine ${hostname} password TOKEN`] : []),
  ];
  const readers = isPublic === false ? "whoever has a token that may read" : "everybody";
  const text = `${readers}, with the key ${keys}`;
  return { status: "ok", text, hint: lines.join("\n"), error: undefined };
}
