import type { HashPart } from "../nix/store-path.ts";
import { Slots } from "./slots.ts";

const REQUESTS_AT_ONCE = 32;
const REQUEST_TIMEOUT_MS = 5_000;

export interface UpstreamOptions {
  readonly log: (line: string) => void;
  /** Aborted when the server stops. */
  readonly signal: AbortSignal;
}

/**
 * Caches that our readers have as well, cache.nixos.org as a rule. What one of them serves counts
 * as available together with its closure.
 */
export class Upstreams {
  readonly #urls: readonly string[];
  readonly #options: UpstreamOptions;
  readonly #slots = new Slots(REQUESTS_AT_ONCE);

  constructor(urls: readonly string[], options: UpstreamOptions) {
    this.#urls = urls.map((url) => url.replace(/\/$/, ""));
    this.#options = options;
  }

  /**
   * The subset of `paths` that an upstream serves. One that fails is asked nothing more in this
   * call and counts as not having the rest, which hides paths or has them uploaded, but never
   * shows one with a hole.
   */
  async find(paths: Iterable<HashPart>): Promise<Set<HashPart>> {
    const found = new Set<HashPart>();
    for (const url of this.#urls) {
      const failed = new AbortController();
      const ask = async (path: HashPart): Promise<void> => {
        if (failed.signal.aborted || found.has(path)) return;
        try {
          if (await this.#serves(url, path)) found.add(path);
        } catch (error) {
          if (!failed.signal.aborted)
            this.#options.log(`Upstream ${url} cannot be asked: ${String(error)}`);
          failed.abort();
        }
      };
      await Promise.all(Array.from(paths, (path) => this.#slots.run(() => ask(path))));
    }
    return found;
  }

  async #serves(url: string, path: HashPart): Promise<boolean> {
    const timeout = AbortSignal.timeout(REQUEST_TIMEOUT_MS);
    const signal = AbortSignal.any([this.#options.signal, timeout]);
    const response = await fetch(`${url}/${path}.narinfo`, { method: "HEAD", signal });
    if (response.status >= 500) throw new Error(`status ${response.status}`);
    return response.status === 200;
  }
}
