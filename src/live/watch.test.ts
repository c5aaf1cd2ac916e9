import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { createTestNix, type TestNix } from "../../test/nix.ts";
import { parseConfig } from "../config/config.ts";
import { PassedOver } from "../state/passed-over.ts";
import { stateFolder } from "../state/state-folder.ts";
import { openStore } from "../store/open-store.ts";
import type { Store } from "../store/store.ts";
import type { SyncEnd } from "../sync/sync.ts";
import { watchStore, type WatchRequest } from "./watch.ts";

const CONFIG = parseConfig(
  '[caches.mine]\nurl = "cachix://mine"\n[builds]\ninclude = ["app-*"]\n',
  "/handpick.toml",
);
const DONE: SyncEnd = { isOtherAtWork: false, isLeft: false, fault: undefined };

describe("watchStore()", { timeout: 60_000 }, () => {
  let nix: TestNix;
  let store: Store;
  before(async () => {
    nix = await createTestNix();
    store = await openStore({ env: nix.env });
  });
  after(async () => {
    await store[Symbol.asyncDispose]();
    await nix[Symbol.asyncDispose]();
  });

  /** A watch whose syncs do as `sync` says, and how to end it. */
  async function watching(
    name: string,
    { sync, onFailure }: Pick<WatchRequest, "sync" | "onFailure">,
  ): Promise<AsyncDisposable> {
    const end = new AbortController();
    const ready = Promise.withResolvers<void>();
    const watch = watchStore({
      folder: stateFolder(join(nix.dir, name)),
      passedOver: new PassedOver(),
      config: CONFIG,
      store,
      substituted: true,
      resume: false,
      signal: end.signal,
      sync,
      onReady: ready.resolve,
      onNote: assert.fail,
      onFailure,
    });
    await Promise.race([ready.promise, watch]);
    return {
      [Symbol.asyncDispose]: async () => {
        end.abort();
        await watch;
      },
    };
  }

  /** Collects all garbage; returns those of `paths` that are left. */
  async function collect(...paths: readonly string[]): Promise<string[]> {
    await nix.run("nix-store", ["--gc"]);
    const args = ["--check-validity", "--print-invalid", ...paths];
    const { stdout } = await nix.run("nix-store", args, { allowFailure: true });
    const gone = new Set(stdout.split("\n"));
    return paths.filter((path) => !gone.has(path));
  }

  it("keeps what it accepted from the collector while syncs fail", async () => {
    // A sync before anything is accepted, which tells nothing, one for each path.
    const outcomes = [DONE, new Error("no room"), new Error("still none"), DONE];
    const failures = [Promise.withResolvers<unknown>(), Promise.withResolvers<unknown>()];
    const synced = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    let failed = 0;
    let done = 0;
    const sync = async (): Promise<SyncEnd> => {
      const outcome = outcomes.shift();
      if (outcome instanceof Error) throw outcome;
      synced[done++]?.resolve();
      return DONE;
    };
    const onFailure = (error: unknown): void => failures[failed++]?.resolve(error);
    const paths: string[] = [];
    {
      await using _watch = await watching("failing", { sync, onFailure });
      await synced[0]?.promise;
      for (const failure of failures) {
        paths.push(await nix.add(`app-${paths.length}`, "accepted"));
        await failure.promise;
        assert.deepEqual(await collect(...paths), paths);
      }
      paths.push(await nix.add("app-last", "accepted"));
      await synced[1]?.promise;
    }
    assert.deepEqual(await collect(...paths), []);
  });
});
