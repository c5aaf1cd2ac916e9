import type { NixRecord } from "../crash/cache-check.ts";
import type { Published } from "../fakes/cachix-service.ts";
import type { LoggedRequest } from "./fault-player.ts";
import type { Ended } from "./run-program.ts";
import type { CacheName, RunStep, Schedule } from "./schedule.ts";

/** Contents of a cache after a run, and the requests of the run. */
export interface CacheEvidence {
  readonly name: CacheName;
  readonly published: ReadonlyMap<string, Published>;
  /** Tells whether readers get a path, be it from an upstream. */
  readonly isVisible: (hashPart: string) => boolean;
  readonly openUploads: readonly string[];
  readonly pins: readonly { readonly name: string; readonly storePath: string }[];
  readonly violations: readonly string[];
  /** The requests of the run. */
  readonly log: readonly LoggedRequest[];
}

/** An entry of the ledger. */
export interface LedgerEntry {
  readonly cache: string;
  readonly path: string;
  readonly state: string;
}

/** A file that a run left, by its name below the folder of the round. */
export interface LeftFile {
  readonly name: string;
  readonly bytes: Buffer;
}

/** Everything that is known after a run; checks read it and nothing else. */
export interface Evidence {
  readonly schedule: Schedule;
  readonly step: RunStep;
  /** `faults` while things go wrong, `heal` for the run after, `again` for the one that has nothing to do. */
  readonly stage: "faults" | "heal" | "again";
  readonly ended: Ended;
  /** Signals that were sent to the program. */
  readonly signals: readonly NodeJS.Signals[];
  /** Time from the last of them to the end of the run, in milliseconds. */
  readonly signalledMs: number | undefined;
  readonly caches: readonly CacheEvidence[];
  /** All requests to the upstream so far. */
  readonly upstreamLog: readonly LoggedRequest[];
  /** By hash part. */
  readonly records: ReadonlyMap<string, NixRecord>;
  /** The store paths that each cache is to have: closures of what is wanted there now or was built. */
  readonly wanted: ReadonlyMap<CacheName, ReadonlySet<string>>;
  /** Those, and what was wanted before. */
  readonly allowed: ReadonlyMap<CacheName, ReadonlySet<string>>;
  readonly ledger: readonly LedgerEntry[];
  readonly spool: readonly string[];
  /** Files of the state folder and temporary ones. */
  readonly files: readonly LeftFile[];
  readonly temporary: readonly string[];
  readonly tokens: readonly string[];
}

/** Finds what is wrong; an empty list for nothing. */
export type Check = (evidence: Evidence) => readonly string[];

export function hashPartOf(path: string): string {
  return path.slice("/nix/store/".length, "/nix/store/".length + 32);
}
