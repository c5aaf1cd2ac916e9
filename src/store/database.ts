import { copyFile, mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { pathToFileURL } from "node:url";

import { HandpickError } from "../error.ts";
import { readBounded } from "../files/read-bounded.ts";
import { systemCode } from "../files/system-code.ts";
import { quote } from "../nix/format-error.ts";

/** A synchronous read of the database: one snapshot, many statements. */
export type Query<T> = (connection: DatabaseSync) => T;

const SCHEMA = "10";
const MAX_SCHEMA_BYTES = 64;
const BUSY_TIMEOUT_MS = 5000;
const ATTEMPTS = 5;

/** The primary result codes SQLite gives a reader that may not make the files of the WAL. */
const READONLY = 8;
const CANTOPEN = 14;

/**
 * Nix's database, opened so that nothing in it is ever written:
 *
 *     live file --(no WAL files, and we may not make them)--> WAL absent or empty? immutable file
 *                                                      \----> WAL holds rows? private copy
 */
export class Database {
  readonly #file: string;
  #live: DatabaseSync | undefined;
  #closed = false;

  private constructor(file: string) {
    this.#file = file;
  }

  /**
   * @throws {HandpickError} `STORE_UNAVAILABLE` if there is no readable database in `stateDir`,
   *   `STORE_UNSUPPORTED` if its schema is not the one Nix 2 uses.
   */
  static async open(stateDir: string): Promise<Database> {
    const file = join(stateDir, "db/schema");
    const limits = { regularOnly: true };
    const schema = await readBounded(file, MAX_SCHEMA_BYTES, limits).catch((error: unknown) => {
      throw noDatabase(stateDir, error);
    });
    if (schema.trim() !== SCHEMA) {
      throw new HandpickError(
        "STORE_UNSUPPORTED",
        `Cannot use the Nix database in ${quote(stateDir)}: expected schema ${SCHEMA}, found ${quote(schema.trim())}`,
        { hint: "Upgrade Nix, or start its daemon." },
      );
    }
    return new Database(join(stateDir, "db/db.sqlite"));
  }

  /** Runs `query` if the live file can be read, which needs the files of the WAL. */
  tryLive<T>(query: Query<T>): { readonly value: T } | undefined {
    if (this.#closed) throw closedStore();
    try {
      this.#live ??= new DatabaseSync(this.#file, { readOnly: true, timeout: BUSY_TIMEOUT_MS });
      return { value: inSnapshot(this.#live, query) };
    } catch (error) {
      this.#live?.close();
      this.#live = undefined;
      if (isUnreadable(error)) return undefined;
      throw explained(error);
    }
  }

  /**
   * Runs `query` in whichever way works.
   *
   * @throws {HandpickError} `STORE_FAILED` if the database is broken, locked, or never at rest.
   */
  async read<T>(query: Query<T>): Promise<T> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const result = this.tryLive(query) ?? (await this.#readAtRest(query));
      if (result !== undefined) return result.value;
    }
    throw new HandpickError(
      "STORE_FAILED",
      `Cannot read the Nix database ${quote(this.#file)}: it changed during each of ${ATTEMPTS} reads`,
      { hint: "Try again when Nix is idle, or start its daemon." },
    );
  }

  close(): void {
    this.#closed = true;
    this.#live?.close();
    this.#live = undefined;
  }

  /** Reads without the live WAL; `undefined` if Nix wrote meanwhile, so that pages may be torn. */
  async #readAtRest<T>(query: Query<T>): Promise<{ readonly value: T } | undefined> {
    const before = await this.#state();
    try {
      const value =
        before.walBytes === 0n ? this.#readImmutable(query) : await this.#readCopy(query);
      return sameState(before, await this.#state()) ? { value } : undefined;
    } catch (error) {
      if (!sameState(before, await this.#state())) return undefined;
      throw explained(error);
    }
  }

  #readImmutable<T>(query: Query<T>): T {
    const url = pathToFileURL(this.#file);
    url.searchParams.set("immutable", "1");
    using connection = new DatabaseSync(url, { readOnly: true });
    return inSnapshot(connection, query);
  }

  async #readCopy<T>(query: Query<T>): Promise<T> {
    const folder = await mkdtemp(join(tmpdir(), "handpick-db-"));
    try {
      const copy = join(folder, "db.sqlite");
      await copyFile(this.#file, copy);
      await copyFile(`${this.#file}-wal`, `${copy}-wal`);
      using connection = new DatabaseSync(copy, { readOnly: true });
      return inSnapshot(connection, query);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  async #state(): Promise<FileState> {
    const main = await stat(this.#file, { bigint: true }).catch((error: unknown) => {
      throw explained(error);
    });
    const wal = await stat(`${this.#file}-wal`, { bigint: true }).catch((error: unknown) => {
      if (isMissing(error)) return undefined;
      throw explained(error);
    });
    return {
      inode: main.ino,
      modified: main.mtimeNs,
      walBytes: wal?.size ?? 0n,
      walModified: wal?.mtimeNs ?? 0n,
    };
  }
}

interface FileState {
  readonly inode: bigint;
  readonly modified: bigint;
  readonly walBytes: bigint;
  readonly walModified: bigint;
}

function sameState(before: FileState, after: FileState): boolean {
  return (
    before.inode === after.inode &&
    before.modified === after.modified &&
    before.walBytes === after.walBytes &&
    before.walModified === after.walModified
  );
}

function inSnapshot<T>(connection: DatabaseSync, query: Query<T>): T {
  connection.exec("begin");
  try {
    return query(connection);
  } finally {
    if (connection.isTransaction) connection.exec("rollback");
  }
}

function isUnreadable(error: unknown): boolean {
  if (!(error instanceof Error) || !("errcode" in error)) return false;
  const primary = Number(error.errcode) & 0xff;
  return primary === READONLY || primary === CANTOPEN;
}

function isMissing(error: unknown): boolean {
  return systemCode(error) === "ENOENT";
}

/** The error for questions after the end. */
export function closedStore(): HandpickError {
  return new HandpickError("STORE_UNAVAILABLE", "Cannot use the Nix store: it was closed");
}

function noDatabase(stateDir: string, cause: unknown): HandpickError {
  return new HandpickError(
    "STORE_UNAVAILABLE",
    `Cannot open the Nix store: expected a database in ${quote(stateDir)}, found none to read`,
    {
      cause,
      hint: "Install Nix, or name its store with --store, or in NIX_REMOTE, NIX_STORE_DIR and NIX_STATE_DIR.",
    },
  );
}

function explained(error: unknown): unknown {
  if (error instanceof HandpickError || !(error instanceof Error)) return error;
  return new HandpickError("STORE_FAILED", `Cannot read the Nix database: ${error.message}`, {
    cause: error,
    hint: "Run nix-store --verify; if Nix cannot read it either, restore it from a copy.",
  });
}
