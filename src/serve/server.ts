import type { Hono } from "hono";

import { HandpickError } from "../error.ts";
import { quote } from "../nix/format-error.ts";
import { createApp } from "./app.ts";
import { localUrl, urlForClient } from "./base-url.ts";
import { listen, type ListenerLimits } from "./listener.ts";
import { openStorage, type Storage } from "./storage.ts";

/** The cache to serve, and the address. */
export interface ServeOptions {
  /** Folder of the cache; made where it is new. */
  readonly dir: string;
  readonly host: string;
  /** 0 for any that is free. */
  readonly port: number;
  /** Name of the cache: letters, digits, `.`, `_` and `-`, at most 64. */
  readonly name: string;
  /** True if reading needs the token, too. */
  readonly isPrivate: boolean;
  /** Caches that readers have as well; what they serve need not be pushed here. @default {[]} */
  readonly upstreams?: readonly string[];
  /** Where proxies and certificate files for upstreams are looked up. @default {process.env} */
  readonly env?: NodeJS.ProcessEnv | undefined;
  /** The URL by which others reach it, without trailing slash: through a proxy, say. */
  readonly publicUrl?: string | undefined;
  /** Gets a line for each request and each failure; never a secret. @default silence */
  readonly log?: (line: string) => void;
}

/** Settings that tests change; none is for users. */
export interface ServeHooks {
  /** Puts something in front of the app, for instance faults. */
  readonly wrap?: (app: Hono) => Hono;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  readonly limits?: Partial<ListenerLimits>;
  /** How long the next byte of a body may take to arrive. @default {10_000} */
  readonly bodyIdleMs?: number;
  /** How long a JSON body may take to arrive. @default {30_000} */
  readonly jsonTimeoutMs?: number;
}

export interface RunningServer extends AsyncDisposable {
  /** The public URL, else that for programs on this machine; without trailing slash. */
  readonly url: string;
  /** The keys that readers have to trust, `name:base64`; grows as clients register theirs. */
  readonly publicKeys: readonly string[];
  /** The file with the token that writers need. */
  readonly tokenFile: string;
  readonly isPrivate: boolean;
  /** Stops accepting, lets running requests end for a while, cuts the rest and frees the folder. */
  close(): Promise<void>;
}

const CACHE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const SWEEP_INTERVAL_MS = 60 * 60 * 1000;

/**
 * Starts a binary cache that speaks Cachix's API for writing and Nix's for reading.
 *
 * @throws {HandpickError} `USAGE` if the name is not one for a cache, `FILE_UNUSABLE` if the folder
 *   cannot be used, `LISTEN_FAILED` if the address cannot.
 */
export async function startServer(
  options: ServeOptions,
  hooks: ServeHooks = {},
): Promise<RunningServer> {
  const { dir, name, isPrivate, publicUrl, env, upstreams = [], log = () => {} } = options;
  const {
    wrap = (app) => app,
    now = Date.now,
    limits = {},
    bodyIdleMs: idleMs = 10_000,
    jsonTimeoutMs: timeoutMs = 30_000,
  } = hooks;
  if (!CACHE_NAME.test(name)) throw badName(name);
  await using cleanup = new AsyncDisposableStack();
  const stopping = new AbortController();
  const { signal } = stopping;
  const address = { host: options.host, port: options.port, publicUrl };
  const servedAs = { listenHost: options.host, publicUrl };
  const baseUrl = (host: string | undefined): string => urlForClient(address, host);
  const opened = Promise.withResolvers<Storage>();
  const listener = await listen(address, { limits, stopping }, async (port) => {
    address.port = port;
    const storage = cleanup.use(await openStorage(dir, { name, upstreams, log, signal, env }));
    await storage.uploads.sweep(now());
    opened.resolve(storage);
    const around = { log, now, signal, idleMs, timeoutMs };
    return wrap(createApp(storage, { name, isPrivate, servedAs, baseUrl, ...around }));
  });
  cleanup.defer(() => listener.close());
  const storage = await opened.promise;

  cleanup.use(sweepHourly(storage, { now, log }));
  const resources = cleanup.move();
  let closed: Promise<void> | undefined;
  const close = (): Promise<void> => (closed ??= resources.disposeAsync());
  return {
    url: publicUrl ?? localUrl(address),
    get publicKeys() {
      return storage.keys.publicKeys;
    },
    tokenFile: storage.tokenFile,
    isPrivate,
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** Gives up forgotten uploads every hour until it is disposed of. */
function sweepHourly(
  { uploads }: Storage,
  { now, log }: { readonly now: () => number; readonly log: (line: string) => void },
): AsyncDisposable {
  let sweep = Promise.resolve();
  const sweeper = setInterval(() => {
    sweep = uploads
      .sweep(now())
      .catch((error: unknown) => log(`Cannot sweep uploads: ${String(error)}`));
  }, SWEEP_INTERVAL_MS).unref();
  return {
    async [Symbol.asyncDispose]() {
      clearInterval(sweeper);
      await sweep;
    },
  };
}

/**
 * The lines that make Nix on this machine read from the server. For a private cache Nix finds the
 * token in a netrc file; how to write that is told without the token itself.
 *
 * @param netrcFile Where the netrc file is to be. @default {"/etc/nix/netrc"}
 */
export function nixConfLines(
  server: Omit<RunningServer, "close" | typeof Symbol.asyncDispose>,
  netrcFile: string = "/etc/nix/netrc",
): string[] {
  const lines = [
    `extra-substituters = ${server.url}`,
    `extra-trusted-public-keys = ${server.publicKeys.join(" ")}`,
  ];
  if (!server.isPrivate) return lines;
  const machine = new URL(server.url).hostname.replace(/^\[|\]$/g, "");
  return [
    ...lines,
    `netrc-file = ${netrcFile}`,
    `# that file needs the line: machine ${machine} password TOKEN`,
    `# where TOKEN is the content of ${server.tokenFile}`,
  ];
}

function badName(name: string): HandpickError {
  return new HandpickError("USAGE", `Cannot serve a cache named ${quote(name)}`, {
    hint: 'Use up to 64 letters, digits, ".", "_" and "-", beginning with a letter or digit.',
  });
}
