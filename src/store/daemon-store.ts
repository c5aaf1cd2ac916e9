import { HandpickError } from "../error.ts";
import type { PathInfo } from "../nix/path-info.ts";
import type { StorePath } from "../nix/store-path.ts";
import { DaemonClient } from "./daemon-client.ts";
import type { ConnectOptions, DaemonVersion } from "./daemon-connection.ts";
import {
  addIndirectRoot,
  addTempRoots,
  queryDerivationOutputMap,
  queryPathInfos,
  queryValidPaths,
} from "./daemon-requests.ts";
import { selectClosure, selectNew } from "./database-queries.ts";
import { closedStore, type Database } from "./database.ts";
import { findBuildLog, type FoundLog } from "./build-log.ts";
import { assertDerivation, notValid, readDerivationOutputs } from "./derivation-outputs.ts";
import { databaseDir, physicalPathOf, resolveInStore, type StoreLayout } from "./layout.ts";
import { protocolError } from "./wire.ts";
import { toQuestion } from "./path-record.ts";
import { type Realisations, selectRealisations } from "./realisations.ts";
import type { Hold, Store } from "./store.ts";

/** How {@link DaemonStore} reaches its daemon. */
export interface DaemonStoreOptions extends ConnectOptions {
  readonly layout: StoreLayout;
  readonly socketPath: string;
}

/** More than any store holds: a daemon that keeps inventing references has to end somewhere. */
const MAX_CLOSURE = 2_000_000;
/** The protocol that brought the question for a derivation's outputs. */
const OUTPUT_MAP_MINOR = 22;

/** A store asked through its daemon, with the daemon's own database as a shortcut. */
export class DaemonStore implements Store {
  readonly storeDir: string;
  readonly stateDir: string;
  readonly description: string;
  readonly trusted: boolean | undefined;
  readonly #layout: StoreLayout;
  readonly #client: DaemonClient;
  readonly #minor: number;
  readonly #database: Database | undefined;

  private constructor(
    layout: StoreLayout,
    daemon: { readonly client: DaemonClient; readonly version: DaemonVersion },
    database: Database | undefined,
  ) {
    this.storeDir = layout.storeDir;
    this.stateDir = layout.stateDir;
    this.#layout = layout;
    this.#client = daemon.client;
    this.#minor = daemon.version.minor;
    this.#database = database;
    this.trusted = daemon.version.trusted;
    const nix = daemon.version.nix === undefined ? "" : ` ${daemon.version.nix}`;
    this.description = `daemon${nix}, protocol 1.${daemon.version.minor}`;
  }

  /**
   * Connects; fails as {@link connectDaemon} does.
   *
   * @param openDatabase Opens the database of the same store, once the daemon has answered: its
   *   child keeps the files of the WAL there that an ordinary user needs.
   */
  static async open(
    options: DaemonStoreOptions,
    openDatabase: () => Promise<Database | undefined>,
  ): Promise<DaemonStore> {
    const client = new DaemonClient(options.socketPath, options);
    const { version } = await client.connected();
    return new DaemonStore(options.layout, { client, version }, await openDatabase());
  }

  physicalPath(path: StorePath): string {
    return physicalPathOf(this.#layout, path);
  }

  async resolve(path: string): Promise<StorePath> {
    return resolveInStore(this.#layout, path);
  }

  async pathInfos(paths: Iterable<StorePath>): Promise<Map<StorePath, PathInfo>> {
    const found = await this.#infos(toQuestion(paths, this.storeDir));
    return new Map(found.map((info) => [info.path, info]));
  }

  async closure(roots: Iterable<StorePath>): Promise<Map<StorePath, PathInfo>> {
    const valid = await this.validPaths(roots);
    const known = this.#database?.tryLive((connection) =>
      selectClosure(connection, [...valid], this.storeDir),
    );
    // A root the database lacks means that it is not the daemon's database.
    if (known !== undefined && [...valid].every((root) => known.value.has(root))) {
      return known.value;
    }
    return this.#walk(valid);
  }

  async validPaths(paths: Iterable<StorePath>): Promise<Set<StorePath>> {
    const question = toQuestion(paths, this.storeDir);
    return this.#client.ask((connection) => queryValidPaths(connection, question, this.storeDir));
  }

  async derivationOutputs(derivation: StorePath): Promise<Map<string, StorePath | undefined>> {
    assertDerivation(derivation);
    if ((await this.validPaths([derivation])).size === 0) throw notValid(derivation);
    if (this.#minor < OUTPUT_MAP_MINOR) return readDerivationOutputs(this.#layout, derivation);
    return this.#client.ask((connection) =>
      queryDerivationOutputMap(connection, derivation, this.storeDir),
    );
  }

  async findBuildLog(derivation: StorePath): Promise<FoundLog | undefined> {
    return findBuildLog(this.#layout, derivation);
  }

  async realisations(paths: Iterable<StorePath>): Promise<Realisations> {
    const question = toQuestion(paths, this.storeDir);
    return (
      (await this.#database?.read((connection) =>
        selectRealisations(connection, question, this.storeDir),
      )) ?? { fault: "there is no readable Nix database beside the daemon" }
    );
  }

  async newPaths(mark?: number): Promise<{ readonly mark: number; readonly paths: StorePath[] }> {
    const database = this.#ownDatabase();
    return database.read((connection) => selectNew(connection, mark, this.storeDir));
  }

  changesDir(): string {
    this.#ownDatabase();
    return databaseDir(this.#layout);
  }

  async hold(paths: Iterable<StorePath>): Promise<Hold> {
    const question = toQuestion(paths, this.storeDir);
    // Nothing else runs on this connection: an error would end it, and its roots with it.
    const connection = await this.#client.separate();
    try {
      await addTempRoots(connection, question);
      const valid = await queryValidPaths(connection, question, this.storeDir);
      return {
        valid,
        [Symbol.asyncDispose]: async () => connection.close(),
      };
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  async addRoot(link: string): Promise<boolean> {
    await this.#client.ask((connection) => addIndirectRoot(connection, link));
    return true;
  }

  async close(): Promise<void> {
    this.#client.close(closedStore());
    this.#database?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #ownDatabase(): Database {
    if (this.#database !== undefined) return this.#database;
    throw new HandpickError(
      "STORE_UNSUPPORTED",
      "Cannot list new store paths: expected a readable Nix database beside the daemon, found none",
      { hint: "Use a post-build-hook, or run this where /nix/var/nix/db can be read." },
    );
  }

  async #infos(paths: readonly StorePath[]): Promise<PathInfo[]> {
    const answers = await this.#client.ask((connection) =>
      queryPathInfos(connection, paths, this.storeDir),
    );
    return answers.filter((info) => info !== undefined);
  }

  /** Follows references level by level, each level in one go. */
  async #walk(roots: Iterable<StorePath>): Promise<Map<StorePath, PathInfo>> {
    const infos = new Map<StorePath, PathInfo>();
    const seen = new Set(roots);
    let level = [...seen];
    while (level.length > 0) {
      const found = await this.#infos(level);
      level = [];
      for (const info of found) {
        infos.set(info.path, info);
        const fresh = info.references.filter((reference) => !seen.has(reference));
        for (const reference of fresh) seen.add(reference);
        level.push(...fresh);
      }
      if (seen.size > MAX_CLOSURE)
        throw protocolError(`found a closure above ${MAX_CLOSURE} paths`);
    }
    return infos;
  }
}
