import { randomBytes } from "node:crypto";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { DatabaseSync } from "node:sqlite";

import { HandpickError, writeFailure } from "../error.ts";
import { makeFolder } from "../files/make-folder.ts";
import { quote } from "../nix/format-error.ts";
import { generateSecretKey, parseSecretKey, printSecretKey, type SecretKey } from "../nix/key.ts";
import { Catalog } from "./catalog.ts";
import { Commits } from "./commits.ts";
import { DATABASE_NAME, openDatabase } from "./database.ts";
import { KeyRing } from "./key-ring.ts";
import { Pins } from "./pins.ts";
import { readOrCreateSecret } from "./secret-file.ts";
import { Uploads } from "./uploads.ts";
import { UploadTable } from "./upload-table.ts";
import { Upstreams, type UpstreamOptions } from "./upstreams.ts";

export interface StorageOptions extends UpstreamOptions {
  /** Name of the cache, from which its keys are named. */
  readonly name: string;
  /** URLs of caches that readers have as well. */
  readonly upstreams: readonly string[];
}

/** Everything a served cache keeps on disk. */
export interface Storage extends AsyncDisposable {
  /** The file the token is in. */
  readonly tokenFile: string;
  /** The token that writers, and readers of a private cache, need. */
  readonly token: string;
  /** The key by which part URLs are signed. */
  readonly partUrlKey: string;
  /** The folder of the compressed NARs, each named after its own hash. */
  readonly narDir: string;
  readonly keys: KeyRing;
  readonly catalog: Catalog;
  readonly uploads: Uploads;
  readonly pins: Pins;
}

/**
 * Opens the folder of a served cache, makes it where it is new, and removes what a killed server
 * left half-written. Nobody else can open it until it is disposed of.
 *
 *     cache.sqlite      narinfos, pins, keys and unfinished uploads; the lock
 *     token             the access token          \
 *     signing-key       the managed key            } readable by the owner only
 *     part-url-key      signs part URLs           /
 *     nar/              compressed NARs, named after their hash
 *     parts/            parts of unfinished uploads
 *     tmp/              files being written
 *
 * @throws {HandpickError} `FILE_UNUSABLE` if another server has it, it is not such a folder, or it
 *   cannot be read or written.
 */
export async function openStorage(dir: string, options: StorageOptions): Promise<Storage> {
  await prepareFolder(dir);
  const db = openDatabase(dir);
  try {
    return await openParts(dir, db, options);
  } catch (error) {
    db.close();
    throw error instanceof HandpickError ? error : unusable(dir, error);
  }
}

async function openParts(dir: string, db: DatabaseSync, options: StorageOptions): Promise<Storage> {
  const dirs = { nar: join(dir, "nar"), parts: join(dir, "parts"), tmp: join(dir, "tmp") };
  for (const folder of Object.values(dirs)) await makeFolder(folder, 0o777);
  const secret = (name: string, make: () => string): Promise<string> =>
    readOrCreateSecret(join(dir, name), { make, tmpDir: dirs.tmp });

  const keyName = `${options.name}-1`;
  const signingKey = await secret("signing-key", () =>
    printSecretKey(generateSecretKey(keyName), "nix"),
  );
  const keys = new KeyRing(db, parseOwnKey(signingKey, keyName), options.name);
  const upstreams = new Upstreams(options.upstreams, options);
  const commits = new Commits(db);
  const catalog = new Catalog(db, commits, upstreams);
  const uploads = new Uploads({ dirs, table: new UploadTable(db), catalog, commits, keys });
  await uploads.removeLeftovers();
  return {
    tokenFile: join(dir, "token"),
    token: await secret("token", randomSecret),
    partUrlKey: await secret("part-url-key", randomSecret),
    narDir: dirs.nar,
    keys,
    catalog,
    uploads,
    pins: new Pins(db),
    [Symbol.asyncDispose]: async () => {
      await uploads[Symbol.asyncDispose]();
      upstreams[Symbol.dispose]();
      db.close();
    },
  };
}

/** A folder with other people's files in it is refused before anything is put there. */
async function prepareFolder(dir: string): Promise<void> {
  let names: string[];
  try {
    await makeFolder(dir);
    names = await readdir(dir);
  } catch (error) {
    throw unusable(dir, error);
  }
  if (names.length === 0 || names.includes(DATABASE_NAME)) return;
  throw new HandpickError(
    "FILE_UNUSABLE",
    `Cannot serve ${JSON.stringify(dir)}: it has files in it but is not a served cache`,
    { hint: "Choose an empty or new folder with --dir." },
  );
}

function parseOwnKey(text: string, name: string): SecretKey {
  const key = parseSecretKey(text);
  if (key.name === name) return key;
  throw new HandpickError(
    "FILE_UNUSABLE",
    `Cannot serve the cache as ${name}: its signing key is named ${quote(key.name ?? "")}`,
    { hint: "Start with the --name it was made with, or choose another folder." },
  );
}

function randomSecret(): string {
  return randomBytes(32).toString("base64url");
}

function unusable(dir: string, cause: unknown): HandpickError {
  const isOther = cause instanceof Error && "code" in cause && cause.code === "EEXIST";
  const found = isOther ? "it is not a folder" : writeFailure(cause);
  return new HandpickError("FILE_UNUSABLE", `Cannot serve ${JSON.stringify(dir)}: ${found}`, {
    cause,
    hint: "Choose another folder with --dir, which has to be yours.",
  });
}
