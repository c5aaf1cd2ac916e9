import type { FoundLog } from "./build-log.ts";
import type { Realisations } from "./realisations.ts";
import type { PathInfo } from "../nix/path-info.ts";
import type { StorePath } from "../nix/store-path.ts";

/** Read access to a local Nix store. One interface for daemon, database and file system. */
export interface Store extends AsyncDisposable {
  /** The logical store folder, the prefix of every path: `/nix/store` as a rule. */
  readonly storeDir: string;
  /** Folder of the file system that has profiles and roots: `/nix/var/nix` as a rule. */
  readonly stateDir: string;
  /** How it is reached, for people: `daemon 2.34.8, protocol 1.38` or `database`. */
  readonly description: string;

  /**
   * True if the daemon lets us set how it builds; undefined if it does not tell, or if there is no
   * daemon.
   */
  readonly trusted: boolean | undefined;

  /** Where a store path's files are; differs from the path in a chroot store (`local?root=`). */
  physicalPath(path: StorePath): string;

  /**
   * Follows symlinks (`./result`, `/run/current-system`, profiles) until they arrive in the store,
   * and cuts to the store path there. Asks the file system only: the result need not be valid.
   *
   * @throws {HandpickError} `NOT_A_STORE_PATH` if the target is missing or outside the store.
   */
  resolve(path: string): Promise<StorePath>;

  /** The records of these paths; those that are not valid are absent from the map. */
  pathInfos(paths: Iterable<StorePath>): Promise<Map<StorePath, PathInfo>>;

  /**
   * The records of everything reachable from `roots` through references, roots included. A root
   * that is not valid is absent from the map.
   */
  closure(roots: Iterable<StorePath>): Promise<Map<StorePath, PathInfo>>;

  /** The subset of `paths` that is valid. */
  validPaths(paths: Iterable<StorePath>): Promise<Set<StorePath>>;

  /**
   * Output name to path of a valid derivation; `undefined` for a floating output not built yet.
   *
   * @throws {HandpickError} `PATH_NOT_VALID` if the derivation is not valid here.
   */
  derivationOutputs(derivation: StorePath): Promise<Map<string, StorePath | undefined>>;

  /** The log of the last build of a derivation, valid or not; undefined if Nix kept none. */
  findBuildLog(derivation: StorePath): Promise<FoundLog | undefined>;

  /** The realisations of these paths, and of all that those were built with. */
  realisations(paths: Iterable<StorePath>): Promise<Realisations>;

  /**
   * Paths that became valid after `mark` (a value returned earlier), oldest first, and the new
   * mark. Without `mark`: no paths, only the mark of now. A mark from a store that was recreated
   * since counts as 0. Marks count the paths that became valid so far: a mark less `n` stands for `n` paths ago.
   *
   * @throws {HandpickError} `STORE_UNSUPPORTED` if there is no readable database.
   */
  newPaths(mark?: number): Promise<{ readonly mark: number; readonly paths: StorePath[] }>;

  /**
   * The folder in which files change when paths become valid.
   *
   * @throws {HandpickError} `STORE_UNSUPPORTED`, as {@link newPaths} does, if there is no readable
   *   database.
   */
  changesDir(): string;

  /**
   * Protects `paths` from garbage collection until the result is disposed, over a connection of
   * its own where there is a daemon. `valid` holds those that were valid after protection began.
   *
   * A collection that was already at work may have chosen a path before, and then still takes it
   * for all that Nix answers; one that begins later does not. So what is read under a hold has to
   * be checked against its record.
   */
  hold(paths: Iterable<StorePath>): Promise<Hold>;

  /**
   * Makes `link`, the absolute path of a symlink to a store path, a root of the garbage collector
   * for as long as it is there.
   *
   * @returns False if there is no daemon to ask and we may not do it ourselves.
   */
  addRoot(link: string): Promise<boolean>;

  close(): Promise<void>;
}

/** Store paths kept alive; see {@link Store.hold}. */
export interface Hold extends AsyncDisposable {
  readonly valid: ReadonlySet<StorePath>;
}
