import type { DatabaseSync } from "node:sqlite";

import type { Failure } from "../error.ts";
import type { StorePath } from "../nix/store-path.ts";
import { isDamage } from "./ledger-damage.ts";
import { openLedgerFile, openLedgerReadOnly } from "./ledger-file.ts";
import type { CacheEntry, Entry, EntryState } from "./ledger-entry.ts";
import { toCacheEntry, toEntry, toPath } from "./ledger-rows.ts";
import type { StateFolder } from "./state-folder.ts";
import { EARLIEST_MS } from "./times.ts";

/** The outcome for a path. */
export interface Outcome {
  readonly path: StorePath;
  readonly state: EntryState;
  readonly trouble?: Failure;
  /** True if we pushed it just now. */
  readonly byUs?: boolean;
}

type Fact =
  | "digest"
  | "syncStarted"
  | "syncEnded"
  | "unusable"
  | "ended"
  | "gone"
  | "read"
  | "watchMark"
  | "idle"
  | "configFile"
  | "configured"
  | "credentials";

/** Returns true if an error is the ledger's: of a full disk, as a rule. Every other one has been put into words. */
export function isLedgerError(error: unknown): boolean {
  return (error instanceof Error && "errcode" in error) || isDamage(error);
}

const FIRST_DELAY_MS = 60_000;
const LONGEST_DELAY_MS = 6 * 60 * 60_000;
/** Doubled so often it is beyond the longest. */
const MOST_DOUBLINGS = 9;
const LONGEST_MESSAGE = 500;

/** In SQL, since when something fails; the clock may have been set meanwhile. */
const FAILING_SINCE = `CASE WHEN failing_since BETWEEN ${EARLIEST_MS} AND :at THEN failing_since ELSE :at END`;
/** In SQL, for `tries` that failed before. */
const DELAY = `min(${LONGEST_DELAY_MS}, ${FIRST_DELAY_MS} << min(tries, ${MOST_DOUBLINGS}))`;
const RECORD = `
  UPDATE entries SET
    state = :state,
    waiting_since = CASE WHEN :state = 'waiting' AND state = 'pushed' THEN :at ELSE waiting_since END,
    failing_since = CASE WHEN :state = 'failing' THEN ${FAILING_SINCE} END,
    next_try = CASE WHEN :state = 'failing' THEN :at + ${DELAY} END,
    tries = CASE WHEN :state = 'failing' THEN tries + 1 ELSE 0 END,
    code = :code,
    message = :message,
    hint = :hint,
    pushed_at = CASE WHEN :byUs THEN :at ELSE pushed_at END,
    seen_at = CASE WHEN :state = 'pushed' THEN :at ELSE seen_at END
  WHERE cache = :cache AND path = :path`;
const FAIL_CACHE = `
  INSERT INTO caches (name, failing_since, tries, next_at, code, message, hint)
  VALUES (:name, :at, 1, :at + ${FIRST_DELAY_MS}, :code, :message, :hint)
  ON CONFLICT (name) DO UPDATE SET
    failing_since = ${FAILING_SINCE},
    next_at = :at + ${DELAY},
    tries = tries + 1,
    code = :code,
    message = :message,
    hint = :hint`;
const CHECK_CACHE = `
  INSERT INTO caches (name, next_at, checked_at) VALUES (:name, :nextAt, :at)
  ON CONFLICT (name) DO UPDATE SET
    failing_since = NULL, tries = 0, next_at = :nextAt, code = NULL, message = NULL,
    hint = NULL, checked_at = :at`;

/** The knowledge of this machine about paths in caches. Caches are asked in the end. */
export class Ledger implements Disposable {
  readonly #db: DatabaseSync;
  /** As long as nothing changes them: a sync asks for all of them six times. */
  #entries: readonly Entry[] | undefined;

  private constructor(db: DatabaseSync) {
    this.#db = db;
  }

  /** @throws {HandpickError} `FILE_UNUSABLE` */
  static open(folder: StateFolder): Ledger {
    return new Ledger(openLedgerFile(folder));
  }

  /** For reading; undefined if nothing was recorded yet. */
  static openReadOnly(folder: StateFolder): Ledger | undefined {
    const db = openLedgerReadOnly(folder);
    return db === undefined ? undefined : new Ledger(db);
  }

  /** @throws {LedgerDamage} If there is something else; as the others here do. */
  entries(): readonly Entry[] {
    const all = "SELECT * FROM entries ORDER BY cache, path";
    return (this.#entries ??= this.#db.prepare(all).all().map(toEntry));
  }

  caches(): CacheEntry[] {
    return this.#db.prepare("SELECT * FROM caches ORDER BY name").all().map(toCacheEntry);
  }

  /** Outputs of builds that are to be pushed, by path. */
  builds(): StorePath[] {
    return this.#db.prepare("SELECT path FROM builds ORDER BY path").all().map(toPath);
  }

  addBuilds(paths: readonly StorePath[], at: number): void {
    const rows = "SELECT value, ? FROM json_each(?)";
    this.#db.prepare(`INSERT OR IGNORE INTO builds ${rows}`).run(at, JSON.stringify(paths));
  }

  /**
   * Forgets builds that have waited for longer than `waitsMs`. One that was recorded while the clock was
   * wrong waits from now on.
   *
   * @returns How many are forgotten.
   */
  dropOldBuilds({ now, waitsMs }: { readonly now: number; readonly waitsMs: number }): number {
    const isWrong = "at < ? OR at > ?";
    this.#db.prepare(`UPDATE builds SET at = ? WHERE ${isWrong}`).run(now, EARLIEST_MS, now);
    const { changes } = this.#db.prepare("DELETE FROM builds WHERE at < ?").run(now - waitsMs);
    return Number(changes);
  }

  /** Forgets builds, for they are pushed, or gone. */
  dropBuilds(paths: readonly StorePath[]): void {
    const which = "path IN (SELECT value FROM json_each(?))";
    this.#db.prepare(`DELETE FROM builds WHERE ${which}`).run(JSON.stringify(paths));
  }

  fact(name: Fact): string | undefined {
    const value = this.#db.prepare("SELECT value FROM facts WHERE name = ?").get(name)?.["value"];
    return typeof value === "string" ? value : undefined;
  }

  setFact(name: Fact, value: string): void {
    this.#db.prepare("INSERT OR REPLACE INTO facts VALUES (?, ?)").run(name, value);
  }

  /** Makes the entries those of `wanted`, by cache: new paths wait, others are forgotten. */
  want(wanted: ReadonlyMap<string, ReadonlySet<StorePath>>, at: number): void {
    this.#entries = undefined;
    const names = JSON.stringify([...wanted.keys()]);
    this.#transaction(() => {
      for (const [table, column] of [
        ["entries", "cache"],
        ["caches", "name"],
      ]) {
        const others = `${column} NOT IN (SELECT value FROM json_each(?))`;
        this.#db.prepare(`DELETE FROM ${table} WHERE ${others}`).run(names);
      }
      for (const [cache, set] of wanted) {
        const paths = JSON.stringify([...set]);
        const others = "path NOT IN (SELECT value FROM json_each(?))";
        this.#db.prepare(`DELETE FROM entries WHERE cache = ? AND ${others}`).run(cache, paths);
        const rows = "SELECT ?, value, 'waiting', ? FROM json_each(?)";
        const columns = "(cache, path, state, waiting_since)";
        this.#db.prepare(`INSERT OR IGNORE INTO entries ${columns} ${rows}`).run(cache, at, paths);
      }
    });
  }

  /** Records what became of paths of one cache. */
  record(cache: string, outcomes: readonly Outcome[], at: number): void {
    this.#entries = undefined;
    const update = this.#db.prepare(RECORD);
    this.#transaction(() => {
      for (const { path, state, trouble, byUs = false } of outcomes) {
        update.run({ cache, path, state, ...columnsOf(trouble), byUs: byUs ? 1 : 0, at });
      }
    });
  }

  cacheFailed(name: string, trouble: Failure, at: number): void {
    this.#db.prepare(FAIL_CACHE).run({ name, ...columnsOf(trouble), at });
  }

  /** @param times When it answered, and when it is to be asked again. */
  cacheAnswered(name: string, times: { readonly at: number; readonly nextAt: number }): void {
    this.#db.prepare(CHECK_CACHE).run({ name, ...times });
  }

  [Symbol.dispose](): void {
    this.#db.close();
  }

  #transaction(task: () => void): void {
    this.#db.exec("BEGIN IMMEDIATE");
    try {
      task();
      this.#db.exec("COMMIT");
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
      throw error;
    }
  }
}

function columnsOf(
  trouble: Failure | undefined,
): Record<"code" | "message" | "hint", string | null> {
  return {
    code: trouble?.code ?? null,
    message: trouble?.message.slice(0, LONGEST_MESSAGE) ?? null,
    hint: trouble?.hint?.slice(0, LONGEST_MESSAGE) ?? null,
  };
}
