import { type ErrorCode, HandpickError, isOutage } from "../error.ts";
import { FormatError } from "../nix/format-error.ts";
import { parseNarInfo } from "../nix/narinfo.ts";
import { type HashPart, hashPartOf, storeDirOf, type StorePath } from "../nix/store-path.ts";
import { type Clock, systemClock } from "../clock.ts";
import { excerpt } from "../http/excerpt.ts";
import { forEachConcurrent } from "./for-each-concurrent.ts";
import { createHttpClient, type HttpClient } from "../http/http-client.ts";
import { endpointOf, type HttpResponse, type Timeouts } from "../http/http-message.ts";
import { retry, type RetryNotice } from "../http/retry.ts";
import { isSuccess, statusError } from "../http/status-error.ts";

const REQUESTS_AT_ONCE = 64;
/** A push waits for the answer, and can do without it: an upstream that gives none is left soon. */
const PATIENCE = { offlineMs: 4_000, delaysMs: 8_000, triesMs: 15_000 } as const;
const TIMEOUTS: Timeouts = { idleMs: 15_000, answerMs: 15_000, totalMs: 30_000 };
/**
 * How caches say that they lack a path. Storage that may not be listed answers 403 for it. We send no
 * credentials, so 401 is that of a cache which readers without a password do not have.
 */
const ABSENT: readonly number[] = [401, 403, 404, 410];

export interface UpstreamOptions {
  readonly signal: AbortSignal;
  /** Where proxies and certificate files are looked up. @default {process.env} */
  readonly env?: NodeJS.ProcessEnv | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: (() => number) | undefined;
  readonly timeouts?: Timeouts | undefined;
  /** Told whenever something is about to be asked again. */
  readonly onRetry?: ((notice: RetryNotice) => void) | undefined;
}

/** The answers of upstreams. */
export interface UpstreamAnswer {
  /** The paths that one of them serves, and its URL. */
  readonly available: ReadonlyMap<HashPart, string>;
  /** The paths that none of them serves, as far as it answered, and one that did not answer may have. */
  readonly unknown: ReadonlySet<HashPart>;
  /** Why upstreams did not answer, once each. */
  readonly failures: readonly HandpickError[];
  /** Which of them answered with something that is no narinfo, once each. */
  readonly warnings: readonly string[];
}

/**
 * Asks which of `paths` at least one of the binary caches at `urls` serves: in order, each only for
 * what those before it do not have. One that fails is asked no more.
 *
 * @throws {HandpickError} `CACHE_URL_UNSUPPORTED` if a URL is not one of http or https;
 *   `CONFIG_INVALID` or `FILE_UNUSABLE` if proxy or certificate file cannot be used.
 */
export async function askUpstreams(
  paths: Iterable<StorePath>,
  urls: readonly string[],
  options: UpstreamOptions,
): Promise<UpstreamAnswer> {
  const { env, timeouts = TIMEOUTS } = options;
  const bases = urls.map(parseUpstream);
  const asked = new Set(paths);
  const available = new Map<HashPart, string>();
  const unknown = new Set<HashPart>();
  const failures: HandpickError[] = [];
  const warnings: string[] = [];
  const client = createHttpClient({ env, timeouts });
  try {
    for (const base of bases) {
      const open = new Set([...asked].filter((path) => !available.has(hashPartOf(path))));
      const answer = await askOne(open, { base, client }, options);
      for (const path of answer.served)
        available.set(hashPartOf(path), base.href.replace(/\/$/, ""));
      for (const path of answer.open) unknown.add(hashPartOf(path));
      failures.push(...answer.failures);
      warnings.push(...answer.warnings);
    }
  } finally {
    client.close();
  }
  return { available, unknown: unknown.difference(new Set(available.keys())), failures, warnings };
}

interface OneAnswer extends Pick<UpstreamAnswer, "failures" | "warnings"> {
  readonly served: ReadonlySet<StorePath>;
  /** Paths of which it told nothing. */
  readonly open: ReadonlySet<StorePath>;
}

interface Upstream {
  readonly base: URL;
  readonly client: HttpClient;
}

async function askOne(
  paths: ReadonlySet<StorePath>,
  upstream: Upstream,
  options: UpstreamOptions,
): Promise<OneAnswer> {
  const { signal } = options;
  const served = new Set<StorePath>();
  const answered = new Set<StorePath>();
  let warning: string | undefined;
  const end = (failures: HandpickError[]): OneAnswer => ({
    served,
    open: paths.difference(answered),
    failures,
    warnings: warning === undefined ? [] : [warning],
  });
  try {
    await forEachConcurrent(paths, { limit: REQUESTS_AT_ONCE, signal }, async (path, signal) => {
      const found = await ask(path, upstream, { ...options, signal });
      if (found === "served") served.add(path);
      else if (found !== "absent") warning ??= found;
      answered.add(path);
    });
    return end([]);
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof HandpickError) || !isOfUpstream(error.code)) throw error;
    return end([error]);
  }
}

/** Tells a failure of the upstream from one of our own settings. */
function isOfUpstream(code: ErrorCode): boolean {
  return isOutage(code) || code === "CACHE_PROTOCOL";
}

/** The folder of the cache. Settings that Nix takes in the query (`?priority=`) are its own. */
function parseUpstream(text: string): URL {
  const url = URL.parse(text);
  const isWeb = url?.protocol === "https:" || url?.protocol === "http:";
  if (url === null || !isWeb || url.username !== "" || url.password !== "") {
    throw new HandpickError(
      "CACHE_URL_UNSUPPORTED",
      `Cannot ask upstream ${excerpt(text.replace(/\/\/[^/]*@/, "//…@"))}: expected http:// or https:// without credentials`,
      { hint: "List only caches that every reader reaches without a password." },
    );
  }
  return new URL(`${url.origin}${url.pathname.replace(/\/*$/, "/")}`);
}

/** Returns what the answer is taken for, a text for one that says neither. */
async function ask(
  path: StorePath,
  { base, client }: Upstream,
  { signal, clock = systemClock, random, onRetry }: UpstreamOptions,
): Promise<string> {
  const url = new URL(`${hashPartOf(path)}.narinfo`, base);
  const action = `ask upstream ${endpointOf(url)} for a path`;
  const response = await retry(() => client.request({ action, method: "GET", url, signal }), {
    ...PATIENCE,
    clock,
    random,
    onRetry,
    signal,
  });
  if (ABSENT.includes(response.status)) return "absent";
  if (!isSuccess(response)) throw statusError(response);
  const fault = faultOf(response, path);
  return fault === undefined ? "served" : `Cannot ${action}: ${fault}, which does not count`;
}

/** Says why an answer proves nothing: login pages, for one, say 200 to everything. */
function faultOf({ body }: HttpResponse, path: StorePath): string | undefined {
  try {
    const { storePath } = parseNarInfo(body.toString(), { storeDir: storeDirOf(path) });
    return storePath === path ? undefined : "expected its narinfo, found that of another path";
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    return `expected its narinfo, found ${body.length === 0 ? "nothing" : "something else"}`;
  }
}
