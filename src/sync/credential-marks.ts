import { createHmac, randomBytes } from "node:crypto";

import { wantedCache } from "../config/choose-cache.ts";
import type { Config } from "../config/config.ts";
import { readCredentials } from "../config/credentials.ts";
import { printSecretKey } from "../nix/key.ts";
import { parseTexts } from "../state/facts.ts";
import type { Ledger } from "../state/ledger.ts";
import type { OpenOptions } from "../run/open-caches.ts";

export interface MarkOptions extends Omit<OpenOptions, "notify"> {
  readonly config: Config;
  readonly ledger: Ledger;
}

/**
 * Of a digest with a salt of its own, four bytes: enough to notice a change, and far too little to tell or
 * to test a token by. Time and size of a file would not do: systemd makes new files at each start.
 */
const MARK_BYTES = 4;
const SALT_BYTES = 16;

/** Returns a mark that stays as long as the credentials of a cache do; it tells nothing of them. */
export async function markCredentials(
  name: string,
  options: Omit<MarkOptions, "ledger">,
): Promise<string> {
  return makeMark(await credentialText(name, options), randomBytes(SALT_BYTES).toString("hex"));
}

/** Keeps the mark of the credentials that a cache failed with; undefined drops it. */
export function keepMark(ledger: Ledger, name: string, mark: string | undefined): void {
  const marks = new Map(parseTexts(ledger.fact("credentials")));
  if (mark === undefined) marks.delete(name);
  else marks.set(name, mark);
  ledger.setFact("credentials", JSON.stringify(Object.fromEntries(marks)));
}

/** Finds the caches that fail and have other credentials than those that they failed with. */
export async function renewedCaches(options: MarkOptions): Promise<ReadonlySet<string>> {
  const { ledger } = options;
  const failing = new Set(
    ledger.caches().flatMap(({ name, trouble }) => (trouble === undefined ? [] : [name])),
  );
  const renewed = new Set<string>();
  for (const [name, mark] of parseTexts(ledger.fact("credentials"))) {
    const [salt = ""] = mark.split(":");
    if (!failing.has(name)) continue;
    if (makeMark(await credentialText(name, options), salt) !== mark) renewed.add(name);
  }
  return renewed;
}

function makeMark(text: string, salt: string): string {
  const digest = createHmac("sha256", salt).update(text).digest("hex");
  return `${salt}:${digest.slice(0, 2 * MARK_BYTES)}`;
}

async function credentialText(
  name: string,
  { config, env, uid }: Omit<MarkOptions, "ledger">,
): Promise<string> {
  try {
    const found = await readCredentials(wantedCache(config, name), { env, uid });
    const keys = found.signingKeys.map((key) => printSecretKey(key, "cachix"));
    const { token, login, host } = found;
    const secrets: unknown[] = [token?.reveal(), keys, host];
    if (login !== undefined) secrets.push(login.user, login.password.reveal());
    return JSON.stringify(secrets);
  } catch (error) {
    // Credentials that cannot be read are none; the attempt to use them says why.
    return String(error);
  }
}
