import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";

/** The folder with what handpick 0.1.0 read and wrote, which every later version reads. */
export const VERSION_0_1_0: string = fileURLToPath(new URL("vectors/0.1.0", import.meta.url));

/** Puts a ledger of 0.1.0 into a state folder. */
export async function writeOldLedger(stateDir: string): Promise<void> {
  const sql = await readFile(join(VERSION_0_1_0, "ledger.sql"), "utf8");
  using db = new DatabaseSync(join(stateDir, "ledger.sqlite"));
  db.exec(`PRAGMA journal_mode = WAL; ${sql}`);
}
