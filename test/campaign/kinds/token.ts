import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import type { CacheOptions } from "./kind.ts";

/** Puts a token where the round says, and returns what the table and the environment of the program need. */
export async function placeToken({ name, dir, token, tokenPlace }: CacheOptions): Promise<{
  readonly settings: Readonly<Record<string, string>>;
  readonly env: Readonly<Record<string, string>>;
}> {
  if (tokenPlace === "variable") {
    const variable = `CAMPAIGN_TOKEN_${name.toUpperCase()}`;
    return { settings: { "token-env": variable }, env: { [variable]: token } };
  }
  const file = join(dir, "token");
  await writeFile(file, token, { mode: 0o600 });
  return { settings: { "token-file": file }, env: {} };
}
