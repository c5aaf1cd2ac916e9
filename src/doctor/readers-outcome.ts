import type { CacheInfo } from "../cache/contract.ts";
import { openHttpReader } from "../cache/http/http-reader.ts";
import { excerpt } from "../http/excerpt.ts";
import type { OpenedCache } from "../run/open-caches.ts";
import { readerKeys } from "../run/reader-keys.ts";
import { signOptions } from "../run/signatures.ts";
import { ok, type Outcome, warning } from "./check.ts";

/** How long a server is waited for that only a warning depends on. */
const PATIENCE = { offlineMs: 0, delaysMs: 0, triesMs: 10_000 } as const;

export interface ReadersOptions {
  readonly env: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
}

/**
 * Says who signs for the readers of a cache, and which lines of `nix.conf` they need. Asks the server for its
 * nix-cache-info as they would, where nobody says if they need a password.
 */
export async function readersOutcome(
  opened: OpenedCache,
  info: CacheInfo,
  options: ReadersOptions,
): Promise<Outcome> {
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
  const text = signersText(opened);
  if (!(await wantsPassword(info, options))) return { ...ok(text), hint: lines.join("\n") };
  const advice = "If readers have a password, set public = false in the table of the cache.";
  return warning(
    `${text}; the server answers 401 to readers without a password`,
    [advice, ...lines].join("\n"),
  );
}

/** False as well where the server gives no answer: readers may reach it from elsewhere. */
async function wantsPassword(
  { isPublic, readUrl }: CacheInfo,
  { env, signal }: ReadersOptions,
): Promise<boolean> {
  if (isPublic !== undefined || !/^https?:/.test(readUrl)) return false;
  await using reader = openHttpReader(readUrl, { role: "cache", ...PATIENCE, env });
  await reader.info(signal).catch(() => undefined);
  signal.throwIfAborted();
  return reader.wantsPassword === true;
}

function signersText(opened: OpenedCache): string {
  const { signer, sign, signingKeys } = signOptions(opened);
  const names = sign === "none" ? [] : signingKeys.map(({ name }) => name);
  const ours = names.length === 0 ? undefined : names.join(" and ");
  if (signer === "cache") return "signed by the server";
  if (signer === "either") return `signed by ${ours ?? "the cache"}`;
  if (ours === undefined) return "signed by those whose signatures the store has, and not by us";
  return `signed by ${ours}${sign === "own" ? " only" : ", besides the signatures that the store has"}`;
}
