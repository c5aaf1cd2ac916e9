import type { NixRecord } from "../crash/cache-check.ts";
import type { LoggedRequest } from "./fault-player.ts";
import type { CacheName } from "./fault-step.ts";
import type { KindName } from "./kinds/kind.ts";
import type { Ended } from "./run-program.ts";
import type { RunStep, Schedule } from "./schedule.ts";

/** A path as a cache tells of it to readers. */
export interface PublishedPath {
  /** `sha256:` and base32. */
  readonly narHash: unknown;
  readonly narSize: unknown;
  /** Base names, in any order. */
  readonly references: readonly string[];
  /** Unpacks the NAR; undefined where readers get none. */
  readonly nar: () => Buffer | undefined;
}

/** What a cache holds, and what went against its rules. */
export interface Contents {
  /** By hash part. */
  readonly published: ReadonlyMap<string, PublishedPath>;
  /** Tells whether readers get a path. */
  readonly isVisible: (hashPart: string) => boolean;
  /** What was begun, and is neither published nor gone. */
  readonly open: readonly string[];
  readonly pins: readonly { readonly name: string; readonly storePath: string }[];
  /** What the client did against the rules of the cache. */
  readonly violations: readonly string[];
  /** What readers would stumble over. */
  readonly flaws: readonly string[];
}

/** Contents of a cache after a run, and the requests of the run. */
export interface CacheEvidence extends Contents {
  readonly name: CacheName;
  readonly kind: KindName;
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
  readonly secrets: readonly KnownSecret[];
}

/** A text that nobody but the program and a cache may see. */
export interface KnownSecret {
  /** The secret, for people. */
  readonly what: string;
  readonly text: string;
}

/** Finds what is wrong; an empty list for nothing. */
export type Check = (evidence: Evidence) => readonly string[];

export function hashPartOf(path: string): string {
  return path.slice("/nix/store/".length, "/nix/store/".length + 32);
}
