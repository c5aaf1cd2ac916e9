import { FormatError } from "../nix/format-error.ts";
import { parseNarInfo } from "../nix/narinfo.ts";
import { hashPartOf, type HashPart } from "../nix/store-path.ts";
import { Absences } from "./absences.ts";
import { Slots } from "./slots.ts";

/** For all clients together; those that wait take turns. */
const REQUESTS_AT_ONCE = 32;
const REQUEST_TIMEOUT_MS = 5_000;
const LONGEST_NARINFO = 2 ** 20;

export interface UpstreamOptions {
  readonly log: (line: string) => void;
  /** Aborted when the server stops. */
  readonly signal: AbortSignal;
}

/**
 * Caches that our readers have as well, cache.nixos.org as a rule. What one of them serves counts
 * as available together with its closure; what none has is remembered for a while.
 */
export class Upstreams {
  readonly #urls: readonly string[];
  readonly #options: UpstreamOptions;
  readonly #slots = new Slots(REQUESTS_AT_ONCE);
  readonly #absences = new Absences();

  constructor(urls: readonly string[], options: UpstreamOptions) {
    this.#urls = urls.map((url) => url.replace(/\/$/, ""));
    this.#options = options;
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
        if (await serves(url, path, signal)) found.add(path);
      } catch (error) {
        if (!signal.aborted) this.#options.log(`Upstream ${url} cannot be asked: ${String(error)}`);
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
}

interface Query {
  readonly open: readonly HashPart[];
  /** Gets what is served. */
  readonly found: Set<HashPart>;
  readonly client: AbortSignal;
}

/** Returns true if the answer is the narinfo of the path: login pages, for one, say 200 to everything. */
async function serves(url: string, path: HashPart, stop: AbortSignal): Promise<boolean> {
  const signal = AbortSignal.any([stop, AbortSignal.timeout(REQUEST_TIMEOUT_MS)]);
  const response = await fetch(`${url}/${path}.narinfo`, { signal });
  if (response.status === 200) return isNarInfoOf(path, await readText(response));
  await response.body?.cancel();
  if (response.status === 429 || response.status >= 500) {
    throw new Error(`status ${response.status}`);
  }
  return false;
}

async function readText({ body }: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body ?? []) {
    size += chunk.byteLength;
    // Leaving the loop cancels the rest.
    if (size > LONGEST_NARINFO) return "";
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

function isNarInfoOf(path: HashPart, text: string): boolean {
  try {
    return hashPartOf(parseNarInfo(text).storePath) === path;
  } catch (error) {
    if (error instanceof FormatError) return false;
    throw error;
  }
}
