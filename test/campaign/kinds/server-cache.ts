import type { Contents } from "../evidence.ts";
import type { FaultPlayer } from "../fault-player.ts";
import type { FaultStep } from "../fault-step.ts";
import type { ServerFaults } from "../server-faults.ts";
import type { CacheOptions, CacheStriking, CampaignCache, KindName } from "./kind.ts";

export interface ServerCacheOptions extends Pick<CampaignCache, "settings" | "env"> {
  readonly kind: KindName;
  readonly options: CacheOptions;
  /** Stands before the server. */
  readonly faults: ServerFaults;
  /** Closed with the cache. */
  readonly server: AsyncDisposable;
  /** Makes the server take this token, and no other. */
  readonly setToken: (token: string) => void;
  /** @default {the server has no clock} */
  readonly setClock?: (ms: number) => void;
  /** All that is in the cache, and all violations so far. */
  readonly contents: () => Contents | Promise<Contents>;
  /** Absent where it cannot be done from outside. */
  readonly evict?: (hashPart: string) => void;
}

/** A cache of a round that is a server of this process. */
export class ServerCache implements CampaignCache {
  readonly name: CampaignCache["name"];
  readonly kind: KindName;
  readonly settings: CampaignCache["settings"];
  readonly env: CampaignCache["env"];
  readonly #cache: ServerCacheOptions;
  #toldViolations = 0;

  constructor(cache: ServerCacheOptions) {
    this.name = cache.options.name;
    this.kind = cache.kind;
    this.settings = cache.settings;
    this.env = cache.env;
    this.#cache = cache;
    cache.setToken(cache.options.token);
  }

  get token(): string {
    return this.#cache.options.token;
  }

  get player(): FaultPlayer {
    return this.#cache.faults.player;
  }

  setClock(ms: number): void {
    this.#cache.setClock?.(ms);
  }

  begin(faults: readonly FaultStep[], striking: CacheStriking): void {
    const { options, setToken } = this.#cache;
    this.player.begin(faults, {
      ...striking,
      revokeToken: () => setToken(`not ${options.token}`),
      goAway: () => this.#cache.faults.goAway(),
    });
  }

  async calm(): Promise<void> {
    this.#cache.setToken(this.#cache.options.token);
    await this.player.end();
  }

  async contents(): Promise<Contents> {
    const { violations, ...contents } = await this.#cache.contents();
    const told = this.#toldViolations;
    this.#toldViolations = violations.length;
    return { ...contents, violations: violations.slice(told) };
  }

  async evict(hashPart: string): Promise<boolean> {
    this.#cache.evict?.(hashPart);
    return this.#cache.evict !== undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await using stack = new AsyncDisposableStack();
    stack.use(this.#cache.server);
    stack.use(this.#cache.faults);
  }
}
