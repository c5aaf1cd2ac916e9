import type { Clock } from "../clock.ts";
import type { Timeouts } from "../http/http-message.ts";
import type { RetryNotice } from "../http/retry.ts";
import type { Secret } from "../secret.ts";
import type { Cache } from "./contract.ts";
import type { KnownKeys } from "./found-narinfos.ts";

/** A kind of cache: a row of `kinds.ts`, and all that the rest of the program asks about it. */
export interface CacheKind {
  /** The scheme of its URLs, such as `cachix`. */
  readonly scheme: string;
  /** The form of its URLs for people, such as `cachix://NAME`. */
  readonly form: string;
  /** A whole URL, such as `cachix://mycache`. */
  readonly example: string;
  /** Returns the rule that a URL of this scheme breaks, to be said after "it"; undefined if none. */
  urlFault(url: string): string | undefined;
  /**
   * Returns the rule that a text breaks which means a cache of this kind and is no URL, to be said after "it";
   * undefined if it is a URL, or may mean something else.
   */
  textFault(text: string): string | undefined;
  /** Returns the one spelling of a URL without fault, which identifies the cache. */
  canonicalUrl(url: string): string;
  /** Returns the URL that is meant by a text which is none of this kind; undefined if it means something else. */
  guessUrl(text: string): string | undefined;
  /** Returns the folder of this machine that is the cache; undefined for one on a server. */
  folderOf(url: string): string | undefined;
  /**
   * Returns the server that the URL itself chooses, which could be anybody's; undefined for a folder, and for
   * one at the service of its kind.
   */
  serverOf(url: string): string | undefined;
  /**
   * Returns what else a URL has that only a believed configuration may say, to be said after the name of the
   * cache; undefined if nothing. Absent where no URL of the kind has any.
   */
  foundFault?(url: string): string | undefined;
  /**
   * True if what is wanted goes there only by a table of a configuration that is believed: the URL that
   * a selection names could be any place.
   */
  readonly needsTable: boolean;
  /** The keys that its table has besides those of every kind. */
  readonly keys: ReadonlySet<KindKey>;
  /** Undefined if it takes no token. */
  readonly token: TokenTraits | undefined;
  /** Undefined if it takes no signatures: the cache has a key of its own. */
  readonly key: KeyTraits | undefined;
  /** Undefined if no other client of it has a configuration with credentials. */
  readonly client: ClientFile | undefined;
  /**
   * Returns true for a server of the service itself: it may have what the user has for this kind, whoever
   * named the server.
   */
  isOwnHost(host: URL): boolean;
  /** Caches that readers have besides, where the configuration does not say. */
  readonly upstreams: readonly string[];
  /** Caches that readers have besides, and that the cache itself asks when it is asked for what is missing. */
  readonly ownUpstreams?: readonly string[];
  /** Says what to do where we may not write to it. */
  readonly readOnlyHint: string;
  /** Says why nothing is removed from it, and what to do; undefined where `prune` removes. */
  readonly noPruneHint: string | undefined;
  /** Says how readers come to trust our key; undefined where keys are registered with the cache. */
  readonly noKeysHint: string | undefined;
  /** Opens a cache; nothing is sent yet. A kind that is slow to load loads its parts here. */
  open(options: OpenCacheOptions): Cache | Promise<Cache>;
}

/** A key of `[caches.NAME]` that only some kinds take. */
export type KindKey =
  "host" | "token-file" | "token-env" | "dhall-file" | "netrc-file" | ReaderKey | CompanionKey;

/** A key about readers, for kinds of cache that do not say it themselves. */
export type ReaderKey = "read-url" | "public-keys" | "public";

export const READER_KEYS: readonly ReaderKey[] = ["read-url", "public-keys", "public"];

/** A key that adds small files to each path, for caches in the layout that Nix reads. */
export type CompanionKey = "listings" | "build-logs" | "realisations";

export interface TokenTraits {
  /** The variable that holds the user's token for this kind; undefined if there is none. */
  readonly variable: string | undefined;
  /** True if nothing can be pushed without a token; else one is missing only where the table names it. */
  readonly isNeeded: boolean;
  /** Says where a token may come from, in sentences. */
  readonly hint: string;
}

export interface KeyTraits {
  /** The variable that holds the user's signing key for this kind. */
  readonly variable: string | undefined;
  /** Returns the name of a key that stands without one; undefined if a key must have a name. */
  defaultName(url: string): string | undefined;
}

/** The configuration of a kind's own client, which may hold credentials. */
export interface ClientFile {
  /** Such as `cachix.dhall`; systemd's credential for a cache is `cachix.dhall@CACHE`. */
  readonly name: string;
  /**
   * True if it concerns other servers as well, and may be for other users only: where the table does not name
   * it, it is left out if it cannot be read.
   */
  readonly isShared: boolean;
  /** Returns the place where the client has it. */
  path(env: NodeJS.ProcessEnv): string | Promise<string>;
  /**
   * Reads its text.
   *
   * @throws {HandpickError} `CONFIG_INVALID` if it cannot be understood; `CONFIG_UNTRUSTED` if it takes
   *   a variable and may not.
   */
  parse(text: string, options: ClientFileOptions): ClientConfig;
}

export interface ClientFileOptions {
  readonly file: string;
  /** True if the table of the cache names the file. */
  readonly isNamed: boolean;
  /** Undefined if the file may take no variables. */
  readonly env: NodeJS.ProcessEnv | undefined;
  /** URL of the cache. */
  readonly url: string;
  /** Base URL of the server that the settings of the cache name; undefined if they name none. */
  readonly host: string | undefined;
}

/** The part of a client's configuration that concerns one cache. */
export interface ClientConfig {
  /** For the server that the cache is opened at. */
  readonly token: Secret | undefined;
  /** Absolute name of a file with the token, where it is not in the configuration itself. */
  readonly tokenFile?: string | undefined;
  /** Undefined if it has none for the server. */
  readonly login?: Login | undefined;
  readonly signingKey: Secret | undefined;
  /** Base URL of the server; undefined for the default one. */
  readonly host: string | undefined;
  readonly warnings: readonly string[];
}

/** User and password for a server, as `netrc` has them; either may be empty. */
export interface Login {
  readonly user: string;
  readonly password: Secret;
}

export interface OpenCacheOptions {
  /** The name users gave it in the configuration, for messages. */
  readonly name: string;
  /** As in the configuration; its scheme chooses the kind. */
  readonly url: string;
  /** Base URL of the server. @default {that of the service} */
  readonly host?: string | undefined;
  readonly token?: Secret | undefined;
  /** Used where there is no token. */
  readonly login?: Login | undefined;
  /** The store that a cache is of which does not say, or is yet to be made. @default {"/nix/store"} */
  readonly storeDir?: string | undefined;
  /** Judges paths that are there by their signatures, where the cache itself does not sign. @default {none} */
  readonly keys?: KnownKeys | undefined;
  /** Where proxies and certificate files are looked up. @default {process.env} */
  readonly env?: NodeJS.ProcessEnv | undefined;
  readonly clock?: Clock | undefined;
  /** Spreads retries; uniform in [0, 1). @default {Math.random} */
  readonly random?: (() => number) | undefined;
  readonly timeouts?: Timeouts | undefined;
  /** Told whenever something is about to be tried again. */
  readonly onRetry?: ((notice: RetryNotice) => void) | undefined;
  /** How long the first answer may take altogether. @default {30_000} */
  readonly firstContactMs?: number | undefined;
  /** How long giving up an upload may take, and the last answer after an interruption. @default {3000} */
  readonly abortMs?: number | undefined;
}
