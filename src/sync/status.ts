import type { Failure } from "../error.ts";
import type { SyncFailure } from "../state/failure.ts";
import type { Entry, EntryState } from "../state/ledger-entry.ts";
import type { Starter } from "./starter.ts";

/** A selection of the state folder. */
export interface SelectionStatus {
  readonly name: string;
  readonly manifest: string;
  /** The caches it is for; undefined if no sync has looked at it yet. */
  readonly caches: readonly string[] | undefined;
  /** Its manifest was gone from the store when a sync looked. */
  readonly isEnded: boolean;
  /** No sync has looked since it was made or changed. */
  readonly isUnread: boolean;
  readonly trouble: Failure | undefined;
}

/** How a cache stands. */
export interface CacheStatus {
  readonly name: string;
  readonly paths: Readonly<Record<EntryState, number>>;
  readonly failingSince: number | undefined;
  readonly trouble: Failure | undefined;
  readonly checkedAt: number | undefined;
  readonly lastPushedAt: number | undefined;
  /** When it is asked again; undefined for the next sync. */
  readonly nextTry: number | undefined;
}

/** The state of this machine, without asking anybody. Times are milliseconds since 1970. */
export interface Status {
  readonly stateFolder: string;
  /** Of the last sync; without an end it is at work, or was killed. */
  readonly lastSync:
    { readonly startedAt: number; readonly endedAt: number | undefined } | undefined;
  readonly selections: readonly SelectionStatus[];
  /** Outputs of builds that are on their way. */
  readonly builds: readonly string[];
  readonly caches: readonly CacheStatus[];
  /** Optional caches that the last sync asked nothing, since it had no credential for them. */
  readonly idle: readonly string[];
  readonly paths: readonly Entry[];
  readonly notice: string | undefined;
  /** Builds that were told of, and that no sync has looked at. */
  readonly unread: number;
  /** Caches that the configuration got since the last sync looked at it. */
  readonly unreadCaches: readonly string[];
  /** Why syncs fail as a whole. */
  readonly trouble: SyncFailure | undefined;
  /** Why they may fail soon. */
  readonly risk: Failure | undefined;
  /** The starter of the next sync. */
  readonly starter: Starter;
  /** True if all that is wanted is where it should be, but for what the user's own rules hold back. */
  readonly isInPlace: boolean;
  /** The next step: a command, or a sentence where none helps; undefined for nothing. */
  readonly toDo: string | undefined;
  /** The command that tries at once what failed; absent in the folder of another user, whose it is to start. */
  readonly tryNow?: string;
}
