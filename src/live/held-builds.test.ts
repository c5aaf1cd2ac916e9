import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { parseStorePath, type StorePath } from "../nix/store-path.ts";
import type { Hold, Store } from "../store/store.ts";
import { HeldBuilds } from "./held-builds.ts";

const A = parseStorePath("/nix/store/0c9v5ms8ag5fl2ll07lmdlg1ayqpyz6i-a");
const B = parseStorePath("/nix/store/7k3i624w0rfrvcrbbdrw0zrvasywxmz4-b");

/** A store whose holds begin when they are let. */
class SlowStore {
  readonly held: ReadonlySet<StorePath>[] = [];
  gate: Promise<void> = Promise.resolve();

  async hold(paths: Iterable<StorePath>): Promise<Hold> {
    const valid = new Set(paths);
    await this.gate;
    this.held.push(valid);
    return {
      valid,
      [Symbol.asyncDispose]: async () => void this.held.splice(this.held.indexOf(valid), 1),
    };
  }

  get paths(): StorePath[] {
    return [...new Set(this.held.flatMap((one) => [...one]))].toSorted();
  }
}

describe("HeldBuilds", () => {
  it("keeps what a failed sync gives back while the next build is being held", async () => {
    const store = new SlowStore();
    await using held = new HeldBuilds(store as unknown as Store);
    await using ofSync = new HeldBuilds(store as unknown as Store);
    await ofSync.add([A]);
    const { promise, resolve } = Promise.withResolvers<void>();
    store.gate = promise;
    const adding = held.add([B]);
    held.absorb(ofSync);
    resolve();
    await adding;
    assert.deepEqual(store.paths, [A, B]);
    await held.add([]);
    assert.deepEqual([store.paths, store.held.length], [[A, B], 1]);
  });
});
