import type { SecretKey } from "../../../src/nix/key.ts";
import type { CacheEvidence, Contents } from "../evidence.ts";
import type { FaultPlayer, LoggedRequest, Striking } from "../fault-player.ts";
import type { CacheName, Cue, Effect, FaultStep } from "../fault-step.ts";

export type KindName = "cachix" | "serve" | "attic" | "http" | "s3" | "file" | "memory";

/** A cue of the faults of a kind. */
export interface CueRow {
  readonly cue: Cue;
  /** More where more can go wrong. */
  readonly weight: number;
  /** The number of such requests that a run makes, about. */
  readonly most: number;
}

/** A kind of cache: a row of `kinds.ts`, and all that rounds and checks ask about it. */
export interface CampaignKind {
  readonly name: KindName;
  readonly cues: readonly CueRow[];
  /** Lists the effects that a cue may have, strokes among them. */
  readonly effectsOf: (cue: Cue) => readonly Effect[];
  /** Returns true if a fault is one that the user alone can mend, so that a run may exit with 3. */
  isRefusal(fault: FaultStep): boolean;
  /** The operations that only ask: a push which finds everything done makes no others. */
  readonly questions: ReadonlySet<string>;
  /** Returns what a request tells of paths, but for the deriver, which is part of what readers get. */
  told(request: LoggedRequest): string;
  /** Lists what the run began and neither published nor gave up. */
  unended(cache: CacheEvidence): readonly string[];
  /** Lists what the run gave up though readers may have been told of it. Absent where nothing can be. */
  givenUpTooEarly?(cache: CacheEvidence): readonly string[];
  /** Starts an empty cache. */
  start(options: CacheOptions): Promise<CampaignCache>;
}

export interface CacheOptions {
  readonly name: CacheName;
  /** An empty folder for what the cache needs on disk. */
  readonly dir: string;
  /** Secret for a cache that takes any. */
  readonly token: string;
  /** Where the program finds it. */
  readonly tokenPlace: "file" | "variable";
  /** Makes the cache hide paths whose closure is incomplete, if it can. */
  readonly hides: boolean;
  /** A path that readers get elsewhere, and where. */
  readonly upstream: { readonly hashPart: string; readonly url: string } | undefined;
  /** Signs what a cache takes signatures for. */
  readonly key: SigningKey | undefined;
}

export interface SigningKey {
  readonly secret: SecretKey;
  readonly file: string;
}

/** A cache of a round, behind the faults of a run. */
export interface CampaignCache extends AsyncDisposable {
  readonly name: CacheName;
  readonly kind: KindName;
  /** Secret that it asks for, if it asks for any. */
  readonly token: string;
  /** Keys of its table in the configuration, but for upstreams. */
  readonly settings: Readonly<Record<string, string>>;
  /** Variables that the program needs for it. */
  readonly env: Readonly<Record<string, string>>;
  readonly player: FaultPlayer;
  /** The folder that is the cache, whose calls the program asks about; undefined for a server. */
  readonly disk?: Disk;
  /** Sets the clock of a server on, as that of the program is. */
  setClock(ms: number): void;
  /** Begins a run, whose faults these are. */
  begin(faults: readonly FaultStep[], striking: CacheStriking): void;
  /** Ends all faults; the token is good again. */
  calm(): Promise<void>;
  /** All that is in it, and what went against its rules since the last call. */
  contents(): Promise<Contents>;
  /** Loses a path, for tests of the checks; returns false where that cannot be done from outside. */
  evict(hashPart: string): Promise<boolean>;
}

export type CacheStriking = Pick<Striking, "signal" | "stepClock">;

/** A disk whose calls may fail. */
export interface Disk {
  readonly folder: string;
  /** Hears of every question, be it about another disk: which calls it tells to be over. */
  hear(call: DiskCall): void;
  /** Says what becomes of a call; undefined if the program does not live to hear it. */
  answer(call: DiskCall): Promise<string | undefined>;
}

/** A call of the program to a file below the folder; `done` tells that one is over which was to be told of. */
export interface DiskCall {
  /** The first is 1. */
  readonly number: number;
  readonly call: string;
  readonly path: string;
  /** The old name where the call is a rename. */
  readonly from?: string;
  /** The calls that succeeded since the last question, by their numbers. */
  readonly over: readonly number[];
}
