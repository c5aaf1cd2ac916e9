import { createHttpClient, type HttpClient } from "../http/http-client.ts";
import { FormatError } from "../nix/format-error.ts";
import { parseNarInfo } from "../nix/narinfo.ts";
import { hashPartOf, type HashPart } from "../nix/store-path.ts";
import { Absences } from "./absences.ts";
import { Slots } from "./slots.ts";

/** For all clients together; those that wait take turns. */
const REQUESTS_AT_ONCE = 32;
const REQUEST_TIMEOUT_MS = 5_000;
const TIMEOUTS = {
  idleMs: REQUEST_TIMEOUT_MS,
  answerMs: REQUEST_TIMEOUT_MS,
  totalMs: REQUEST_TIMEOUT_MS,
};

export interface UpstreamOptions {
  readonly log: (line: string) => void;
  /** Aborted when the server stops. */
  readonly signal: AbortSignal;
  /** Where proxies and certificate files are looked up. @default {process.env} */
  readonly env?: NodeJS.ProcessEnv | undefined;
}

/**
 * Caches that our readers have as well, cache.nixos.org as a rule. What one of them serves counts
 * as available together with its closure; what none has is remembered for a while.
 */
export class Upstreams implements Disposable {
  readonly #urls: readonly string[];
  readonly #options: UpstreamOptions;
  readonly #slots = new Slots(REQUESTS_AT_ONCE);
  readonly #absences = new Absences();
  readonly #http: HttpClient;

  constructor(urls: readonly string[], options: UpstreamOptions) {
    this.#urls = urls.map((url) => url.replace(/\/$/, ""));
    this.#options = options;
    this.#http = createHttpClient({ env: options.env, timeouts: TIMEOUTS });
  }

  [Symbol.dispose](): void {
    this.#http.close();
  }

  /**
   * The subset of `paths` that an upstream serves. One that fails is asked nothing more in this
   * call and counts as not having the rest, which hides paths or has them uploaded, but never
   * shows one with a hole.
   *
   * @throws {Error} If `client` is aborted: nobody waits for the rest.
   */
  async find(paths: Iterable<HashPart>, client: AbortSignal): Promise<Set<HashPart>> {
    const found = new Set<HashPart>();
    const unknown = [...paths].filter((path) => !this.#absences.has(path));
    let isSure = true;
    for (const url of this.#urls) {
      const open = unknown.filter((path) => !found.has(path));
      isSure = (await this.#ask(url, { open, found, client })) && isSure;
    }
    if (isSure) for (const path of unknown) if (!found.has(path)) this.#absences.add(path);
    return found;
  }

  /** Asks one upstream for all of `open`; false if it failed. */
  async #ask(url: string, { open, found, client }: Query): Promise<boolean> {
    const failed = new AbortController();
    const signal = AbortSignal.any([this.#options.signal, client, failed.signal]);
    const queue = open.values();
    const ask = async (path: HashPart): Promise<void> => {
      if (signal.aborted) return;
      try {
        if (await this.#serves(url, path, signal)) found.add(path);
      } catch (error) {
        if (!signal.aborted)
          this.#options.log(`Upstream ${url} cannot be asked: ${messageOf(error)}`);
        failed.abort(error);
      }
    };
    // Each of them waits for one slot at a time, so a long query keeps a short one waiting for a turn only.
    const work = async (): Promise<void> => {
      for (let next = queue.next(); !next.done && !signal.aborted; next = queue.next()) {
        const { value } = next;
        await this.#slots.run(() => ask(value));
      }
    };
    await Promise.all(Array.from({ length: REQUESTS_AT_ONCE }, work));
    if (client.aborted) throw new Error("The client went away");
    return !failed.signal.aborted && !this.#options.signal.aborted;
  }

  /** Returns true if the answer is the narinfo of the path: login pages, for one, say 200 to everything. */
  async #serves(base: string, path: HashPart, signal: AbortSignal): Promise<boolean> {
    const url = new URL(`${base}/${path}.narinfo`);
    const action = "ask it for a path";
    const { status, body } = await this.#http.request({ action, method: "GET", url, signal });
    if (status === 429 || status >= 500) throw new Error(`status ${status}`);
    return status === 200 && isNarInfoOf(path, body.toString());
  }
}

interface Query {
  readonly open: readonly HashPart[];
  /** Gets what is served. */
  readonly found: Set<HashPart>;
  readonly client: AbortSignal;
}

function isNarInfoOf(path: HashPart, text: string): boolean {
  try {
    return hashPartOf(parseNarInfo(text).storePath) === path;
  } catch (error) {
    if (error instanceof FormatError) return false;
    throw error;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
