import type { PathInfo } from "../nix/path-info.ts";
import type { StorePath } from "../nix/store-path.ts";
import {
  hasRealisations,
  selectClosure,
  selectNew,
  selectPathInfos,
  selectRealised,
  selectValid,
} from "./database-queries.ts";
import type { Database } from "./database.ts";
import { findBuildLog, type FoundLog } from "./build-log.ts";
import { assertDerivation, notValid, readDerivationOutputs } from "./derivation-outputs.ts";
import { addAutoRoot } from "./auto-root.ts";
import { holdOpen } from "./hold-open.ts";
import { databaseDir, physicalPathOf, resolveInStore, type StoreLayout } from "./layout.ts";
import { OutputHasher } from "./output-hasher.ts";
import { toQuestion } from "./path-record.ts";
import { type Realisations, selectRealisations } from "./realisations.ts";
import type { Hold, Store } from "./store.ts";

/** A store read from its database and its files, for machines where no daemon runs. */
export class DatabaseStore implements Store {
  readonly storeDir: string;
  readonly stateDir: string;
  readonly description = "database";
  readonly trusted = undefined;
  readonly #layout: StoreLayout;
  readonly #database: Database;
  readonly #signal: AbortSignal;
  readonly #hasher: OutputHasher;

  constructor(layout: StoreLayout, database: Database, signal: AbortSignal) {
    this.storeDir = layout.storeDir;
    this.stateDir = layout.stateDir;
    this.#layout = layout;
    this.#database = database;
    this.#signal = signal;
    this.#hasher = new OutputHasher(layout);
  }

  physicalPath(path: StorePath): string {
    return physicalPathOf(this.#layout, path);
  }

  async resolve(path: string): Promise<StorePath> {
    return resolveInStore(this.#layout, path);
  }

  async pathInfos(paths: Iterable<StorePath>): Promise<Map<StorePath, PathInfo>> {
    const question = toQuestion(paths, this.storeDir);
    return this.#database.read((connection) =>
      selectPathInfos(connection, question, this.storeDir),
    );
  }

  async closure(roots: Iterable<StorePath>): Promise<Map<StorePath, PathInfo>> {
    const question = toQuestion(roots, this.storeDir);
    return this.#database.read((connection) => selectClosure(connection, question, this.storeDir));
  }

  async validPaths(paths: Iterable<StorePath>): Promise<Set<StorePath>> {
    const question = toQuestion(paths, this.storeDir);
    return this.#database.read((connection) => selectValid(connection, question, this.storeDir));
  }

  async derivationOutputs(derivation: StorePath): Promise<Map<string, StorePath | undefined>> {
    assertDerivation(derivation);
    if ((await this.validPaths([derivation])).size === 0) throw notValid(derivation);
    const outputs = await readDerivationOutputs(this.#layout, derivation);
    const isFloating = [...outputs.values()].includes(undefined);
    if (!isFloating || !(await this.#database.read(hasRealisations))) return outputs;
    const hashes = await this.#hasher.hashesOf(derivation);
    const realised = await this.#database.read((connection) =>
      selectRealised(connection, hashes, this.storeDir),
    );
    return new Map(Array.from(outputs, ([name, path]) => [name, path ?? realised.get(name)]));
  }

  async findBuildLog(derivation: StorePath): Promise<FoundLog | undefined> {
    return findBuildLog(this.#layout, derivation);
  }

  async realisations(paths: Iterable<StorePath>): Promise<Realisations> {
    const question = toQuestion(paths, this.storeDir);
    return this.#database.read((connection) =>
      selectRealisations(connection, question, this.storeDir),
    );
  }

  async newPaths(mark?: number): Promise<{ readonly mark: number; readonly paths: StorePath[] }> {
    return this.#database.read((connection) => selectNew(connection, mark, this.storeDir));
  }

  changesDir(): string {
    return databaseDir(this.#layout);
  }

  async hold(paths: Iterable<StorePath>): Promise<Hold> {
    const question = toQuestion(paths, this.storeDir);
    const open = await holdOpen(this.#layout, question, this.#signal);
    try {
      const valid = await this.validPaths(question);
      return { valid, [Symbol.asyncDispose]: () => open[Symbol.asyncDispose]() };
    } catch (error) {
      await open[Symbol.asyncDispose]();
      throw error;
    }
  }

  async addRoot(link: string): Promise<boolean> {
    return addAutoRoot(this.#layout, link);
  }

  async close(): Promise<void> {
    this.#database.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
