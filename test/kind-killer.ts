import { watch } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

import { CrashProxy } from "./crash/crash-proxy.ts";
import { PHASES } from "./crash/moment.ts";
import type { SeededRandom } from "./crash/random.ts";
import type { KindRig } from "./kind-rig.ts";

/** Says how long a push of everything is, for {@link Killer.arm}: requests to each server, or milliseconds. */
export type Length = readonly number[];

/** Ends a push at a moment by chance. */
export interface Killer extends AsyncDisposable {
  /** Where the push has to go; undefined for a folder. */
  readonly address: string | undefined;
  /** How much there was since the killer was made. */
  length(): Length;
  /**
   * Calls `kill` at some moment of a push that is about to start.
   *
   * @param length How long that push is.
   */
  arm(random: SeededRandom, length: Length, kill: () => void): Armed;
}

export interface Armed {
  /** For people. */
  readonly moment: string;
  /** Takes the trap away, if it was not sprung. */
  disarm(): void;
}

export async function createKiller(rig: KindRig): Promise<Killer> {
  const { target, storage, readUrl = "" } = rig;
  if (target === undefined) return new FolderKiller(dirname(fileURLToPath(readUrl)));
  const proxies = [await CrashProxy.start(target)];
  if (storage !== undefined) {
    const proxy = await CrashProxy.start(storage.target);
    storage.use(proxy.url);
    proxies.push(proxy);
  }
  return new RequestKiller(proxies);
}

/** Kills when a request is so far. */
class RequestKiller implements Killer {
  readonly #proxies: readonly CrashProxy[];

  constructor(proxies: readonly CrashProxy[]) {
    this.#proxies = proxies;
  }

  get address(): string | undefined {
    return this.#proxies[0]?.url;
  }

  length(): Length {
    return this.#proxies.map(({ requests }) => requests);
  }

  arm(random: SeededRandom, length: Length, kill: () => void): Armed {
    // Each request counts the same, to whichever server it goes.
    const requests = length.flatMap((count, index) =>
      Array.from({ length: Math.ceil(count) }, (_, nth) => ({ index, nth: nth + 1 })),
    );
    const { index, nth } = random.pick(requests);
    const moment = {
      step: "any",
      nth,
      phase: random.pick(PHASES),
      workMs: random.below(30),
    } as const;
    const proxy = this.#proxies[index];
    void proxy?.trap(moment, kill);
    return {
      moment: `${moment.phase} ${nth} of ${requests.length}`,
      disarm: () => void proxy?.disarm(),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const proxy of this.#proxies) await proxy[Symbol.asyncDispose]();
  }
}

/** Kills some time after something began to change in a folder. */
class FolderKiller implements Killer {
  readonly address = undefined;
  readonly #dir: string;
  readonly #watcher;
  #firstMs: number | undefined;
  #onChange: (() => void) | undefined;

  constructor(dir: string) {
    this.#dir = dir;
    this.#watcher = watch(this.#dir, { recursive: true }, () => {
      this.#firstMs ??= performance.now();
      this.#onChange?.();
    });
  }

  length(): Length {
    return [performance.now() - (this.#firstMs ?? performance.now())];
  }

  arm(random: SeededRandom, [durationMs = 0]: Length, kill: () => void): Armed {
    const delayMs = random.below(Math.ceil(durationMs) + 1);
    let timer: NodeJS.Timeout | undefined;
    this.#onChange = () => void (timer ??= setTimeout(kill, delayMs));
    return {
      moment: `${delayMs} ms after the first change`,
      disarm: () => {
        this.#onChange = undefined;
        clearTimeout(timer);
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#watcher.close();
  }
}
