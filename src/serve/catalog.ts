import type { DatabaseSync, StatementSync } from "node:sqlite";

import { hashPartOf, parseHashPart, type HashPart, type StorePath } from "../nix/store-path.ts";
import type { Commits } from "./commits.ts";
import type { Upstreams } from "./upstreams.ts";
import { Visibility } from "./visibility.ts";

/** A path whose NAR was checked and is in place. */
export interface CatalogEntry {
  readonly storePath: StorePath;
  readonly references: readonly StorePath[];
  /** Base name of the compressed NAR. */
  readonly file: string;
  /** The narinfo as served. */
  readonly text: string;
}

/** The paths of the cache. Texts stay on disk; who may be seen is known in memory. */
export class Catalog {
  readonly #db: DatabaseSync;
  readonly #commits: Commits;
  readonly #upstreams: Upstreams;
  readonly #visibility = new Visibility();
  readonly #insert: StatementSync;

  constructor(db: DatabaseSync, commits: Commits, upstreams: Upstreams) {
    this.#db = db;
    this.#commits = commits;
    this.#upstreams = upstreams;
    this.#insert = db.prepare(
      "INSERT OR IGNORE INTO narinfos (hash, path, refs, file, text) VALUES (?, ?, ?, ?, ?)",
    );
    for (const row of db.prepare("SELECT hash, refs FROM narinfos").iterate()) {
      const references = String(row["refs"]).split(" ").filter(Boolean).map(parseHashPart);
      this.#visibility.add(parseHashPart(String(row["hash"])), references);
    }
  }

  /** Returns true if the path is complete here, though readers may not see it yet. */
  has(path: HashPart): boolean {
    return this.#visibility.has(path);
  }

  /** Returns true if exactly this store path is complete here. */
  hasPath(path: StorePath): boolean {
    return this.#db.prepare("SELECT 1 FROM narinfos WHERE path = ?").get(path) !== undefined;
  }

  /** The base names of all compressed NARs. */
  files(): Set<string> {
    const rows = this.#db.prepare("SELECT file FROM narinfos").all();
    return new Set(rows.map((row) => String(row["file"])));
  }

  /**
   * Adds a path for good, together with what `alongside` writes. A path that is there already
   * stays as it was first published.
   */
  async add(entry: CatalogEntry, alongside: () => void): Promise<void> {
    const hash = hashPartOf(entry.storePath);
    const references = entry.references.map(hashPartOf);
    await this.#commits.run(() => {
      this.#insert.run(hash, entry.storePath, references.join(" "), entry.file, entry.text);
      alongside();
    });
    this.#visibility.add(hash, references);
  }

  /**
   * The narinfo of a path whose whole closure readers can get, here or from an upstream; undefined
   * for any other.
   *
   * @throws {Error} If `client` is aborted while an upstream is asked.
   */
  async narInfo(path: HashPart, client: AbortSignal): Promise<string | undefined> {
    if (!this.has(path)) return undefined;
    if (!this.#visibility.isVisible(path)) {
      await this.#askUpstreams(this.#visibility.holes(path), client);
    }
    if (!this.#visibility.isVisible(path)) return undefined;
    return String(this.#db.prepare("SELECT text FROM narinfos WHERE hash = ?").get(path)?.["text"]);
  }

  /**
   * Which of the paths are missing: neither complete here (hidden ones count as present) nor at an
   * upstream.
   *
   * A path that was asked for n times and is present is answered n-1 times, as the real service
   * does (https://github.com/cachix/cachix/issues/625), which uncovers clients that do not remove
   * duplicates.
   *
   * @throws {Error} If `client` is aborted while an upstream is asked.
   */
  async missing(paths: readonly HashPart[], client: AbortSignal): Promise<HashPart[]> {
    const asked = new Set(paths);
    const isPresent = (path: HashPart): boolean =>
      this.has(path) || this.#visibility.isElsewhere(path);
    await this.#askUpstreams(
      [...asked].filter((path) => !isPresent(path)),
      client,
    );
    const seen = new Set<HashPart>();
    return paths.filter((path) => {
      const isRepeated = seen.has(path);
      seen.add(path);
      return isPresent(path) === isRepeated;
    });
  }

  async #askUpstreams(paths: Iterable<HashPart>, client: AbortSignal): Promise<void> {
    for (const path of await this.#upstreams.find(paths, client))
      this.#visibility.addElsewhere(path);
  }
}
