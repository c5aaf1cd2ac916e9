import type { DatabaseSync } from "node:sqlite";

import * as v from "valibot";

import { parseStorePath, type StorePath } from "../nix/store-path.ts";

const LONGEST_NAME = 255;
const MOST_ARTIFACTS = 1000;
const LONGEST_ARTIFACT = 4096;

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(1));
const keepSchema = v.nullish(
  v.variant("tag", [
    v.object({ tag: v.literal("Days"), contents: count }),
    v.object({ tag: v.literal("Revisions"), contents: count }),
    v.object({ tag: v.literal("Forever") }),
  ]),
  null,
);

/** How long a pinned path is kept; null leaves it to the server. */
export type Keep = { tag: "Days" | "Revisions"; contents: number } | { tag: "Forever" } | null;

/** The body of a request to pin a path. */
export interface PinRequest {
  readonly name: string;
  readonly storePath: StorePath;
  readonly artifacts: readonly string[];
  readonly keep: Keep;
}

/** A pin as listed. */
export interface Pin {
  readonly name: string;
  readonly createdOn: string;
  readonly keep: unknown;
  readonly lastRevision: unknown;
}

/** @throws {FormatError} From the store path, the rest fails as an issue of the schema. */
export const pinRequestSchema: v.GenericSchema<unknown, PinRequest> = v.object({
  name: v.pipe(v.string(), v.minLength(1), v.maxLength(LONGEST_NAME), v.regex(/^\P{Cc}+$/u)),
  storePath: v.pipe(
    v.string(),
    v.transform((text): StorePath => parseStorePath(text)),
  ),
  artifacts: v.nullish(
    v.pipe(v.array(v.pipe(v.string(), v.maxLength(LONGEST_ARTIFACT))), v.maxLength(MOST_ARTIFACTS)),
    [],
  ),
  keep: keepSchema,
});

/**
 * The pins of the cache. Nothing is ever collected here, so a pin is a name and its latest
 * revision; pinning the name again counts the revision up.
 */
export class Pins {
  readonly #db: DatabaseSync;

  constructor(db: DatabaseSync) {
    this.#db = db;
  }

  /** Pins a path from `now` (milliseconds since 1970) on. */
  add({ name, storePath, artifacts, keep }: PinRequest, now: number): void {
    const createdOn = new Date(now).toISOString();
    const found = this.#db.prepare("SELECT revision FROM pins WHERE name = ?").get(name);
    const revision = Number(found?.["revision"] ?? 0) + 1;
    this.#db
      .prepare(
        `INSERT INTO pins (name, created_on, keep, revision, last_revision) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (name) DO UPDATE SET keep = excluded.keep, revision = excluded.revision,
         last_revision = excluded.last_revision`,
      )
      .run(
        name,
        createdOn,
        JSON.stringify(keep),
        revision,
        JSON.stringify({ storePath, artifacts, revision, createdOn }),
      );
  }

  /** All pins by name. */
  list(): Pin[] {
    return this.#db
      .prepare("SELECT * FROM pins ORDER BY name")
      .all()
      .map((row) => ({
        name: String(row["name"]),
        createdOn: String(row["created_on"]),
        keep: JSON.parse(String(row["keep"])),
        lastRevision: JSON.parse(String(row["last_revision"])),
      }));
  }
}
