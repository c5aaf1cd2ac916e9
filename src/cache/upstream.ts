import { type ErrorCode, HandpickError, isOutage } from "../error.ts";
import { FormatError } from "../nix/format-error.ts";
import { type HashPart, hashPartOf, type StorePath } from "../nix/store-path.ts";
import type { CacheReader } from "./reader.ts";
import { forEachConcurrent } from "./for-each-concurrent.ts";
import { type HttpReaderOptions, openHttpReader } from "./http/http-reader.ts";

const REQUESTS_AT_ONCE = 64;
/** A push waits for the answer, and can do without it: an upstream that gives none is left soon. */
const PATIENCE = { offlineMs: 4_000, delaysMs: 8_000, triesMs: 15_000 } as const;

export interface UpstreamOptions extends Omit<HttpReaderOptions, "role" | keyof typeof PATIENCE> {
  readonly signal: AbortSignal;
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
  const readers = urls.map((url) =>
    openHttpReader(url, { ...options, ...PATIENCE, role: "upstream" }),
  );
  const asked = new Set(paths);
  const available = new Map<HashPart, string>();
  const unknown = new Set<HashPart>();
  const failures: HandpickError[] = [];
  const warnings: string[] = [];
  for (const each of readers) {
    await using reader = each;
    const open = new Set([...asked].filter((path) => !available.has(hashPartOf(path))));
    const answer = await askOne(open, reader, options.signal);
    for (const path of answer.served) available.set(hashPartOf(path), reader.url);
    for (const path of answer.open) unknown.add(hashPartOf(path));
    failures.push(...answer.failures);
    warnings.push(...answer.warnings);
  }
  return { available, unknown: unknown.difference(new Set(available.keys())), failures, warnings };
}

interface OneAnswer extends Pick<UpstreamAnswer, "failures" | "warnings"> {
  readonly served: ReadonlySet<StorePath>;
  /** Paths of which it told nothing. */
  readonly open: ReadonlySet<StorePath>;
}

async function askOne(
  paths: ReadonlySet<StorePath>,
  reader: CacheReader,
  signal: AbortSignal,
): Promise<OneAnswer> {
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
      try {
        if ((await reader.narInfo(path, signal)) !== undefined) served.add(path);
      } catch (error) {
        if (!(error instanceof FormatError)) throw error;
        warning ??= `${error.message}, which does not count`;
      }
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
