import type { ServedAs } from "./host-check.ts";

/** Facts about the server that its routes know. */
export interface AppOptions {
  /** Name of the cache in the API. */
  readonly name: string;
  /** True if reading needs the token, too. */
  readonly isPrivate: boolean;
  readonly servedAs: ServedAs;
  /** The URL of this server for the sender of a request with that Host header. */
  readonly baseUrl: (hostHeader: string | undefined) => string;
  readonly log: (line: string) => void;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Aborted when the server stops; ends what takes long. */
  readonly signal: AbortSignal;
  /** How long the next byte of a body may take to arrive. */
  readonly idleMs: number;
  /** How long a JSON body may take to arrive. */
  readonly timeoutMs: number;
}
