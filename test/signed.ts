import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

import type { KnownKeys } from "../src/cache/found-narinfos.ts";
import type { TestNix } from "./nix.ts";

/** For a cache that we sign for, without a key to verify with. */
export const SIGNING_KEYS: KnownKeys = {
  publicKeys: [],
  areAll: false,
  signs: true,
  keepsOthers: true,
};

/** Records a signature of a path, as Nix does of what it fetches, so that it does not count as made here. */
export function recordSignature({ stateDir }: TestNix, path: string): void {
  using db = new DatabaseSync(join(stateDir, "db/db.sqlite"));
  const signature = `up-1:${randomBytes(64).toString("base64")}`;
  db.prepare("UPDATE ValidPaths SET sigs = ? WHERE path = ?").run(signature, path);
}
