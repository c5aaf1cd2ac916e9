import { randomUUID } from "node:crypto";

import { startFakeCachix } from "../fakes/cachix.ts";
import type { FakeCachix } from "../fakes/cachix.ts";
import { FaultPlayer } from "./fault-player.ts";
import type { LoggedRequest, Striking } from "./fault-player.ts";
import type { CacheName, FaultStep } from "./schedule.ts";

/** A cache of a round: a fake whose API and storage are behind the faults of a run. */
export class CampaignCache implements AsyncDisposable {
  readonly name: CacheName;
  readonly fake: FakeCachix;
  readonly token: string;
  readonly player: FaultPlayer;

  private constructor(name: CacheName, fake: FakeCachix, token: string) {
    this.name = name;
    this.fake = fake;
    this.token = token;
    this.player = new FaultPlayer(name);
  }

  static async start(name: CacheName, token: string): Promise<CampaignCache> {
    const fake = await startFakeCachix(name);
    const cache = new CampaignCache(name, fake, token);
    const { service } = fake;
    service.apiUrl = await cache.player.before(service.apiUrl);
    service.storageUrl = await cache.player.before(service.storageUrl);
    service.token = token;
    return cache;
  }

  get url(): string {
    return this.fake.service.apiUrl;
  }

  get log(): readonly LoggedRequest[] {
    return this.player.log;
  }

  begin(faults: readonly FaultStep[], striking: Omit<Striking, "revokeToken">): void {
    const revokeToken = (): void => void (this.fake.service.token = randomUUID());
    this.player.begin(faults, { ...striking, revokeToken });
  }

  /** Ends all faults; the token is good again. */
  async calm(): Promise<void> {
    this.fake.service.token = this.token;
    await this.player.end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await using stack = new AsyncDisposableStack();
    stack.use(this.fake);
    stack.use(this.player);
  }
}
