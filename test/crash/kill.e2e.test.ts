import assert from "node:assert/strict";
import { after, before, describe, it, type TestContext } from "node:test";

import { startServer } from "../../src/serve/server.ts";
import { freshMachine } from "../handpick.ts";
import { checkFolder } from "./cache-check.ts";
import { type Corpus, CrashRig, createCorpus, ROUNDS, SEED } from "./crash-rig.ts";
import { CrashProxy } from "./crash-proxy.ts";
import { type Moment, randomMoment } from "./moment.ts";
import { SeededRandom } from "./random.ts";

/** Kills in a row before a push is let through. */
const KILLS_IN_A_ROW = 5;

type Episode = (rig: CrashRig, nextMoment: () => Promise<Moment>) => Promise<number>;

// Side by side, since a push waits before it tries again.
describe("handpick push and serve, killed", { timeout: 600_000, concurrency: 2 }, () => {
  let corpus: Corpus;
  before(async () => {
    corpus = await createCorpus();
  });
  after(() => corpus[Symbol.asyncDispose]());

  /**
   * Repeats an episode on a new cache until it killed often enough. Each has a seed of its own, so
   * that the one that failed can be seen alone.
   */
  async function killOften(t: TestContext, rounds: number, episode: Episode): Promise<void> {
    const steps = new Set<string>();
    let killed = 0;
    for (let seed = SEED; killed < rounds; seed += 1) {
      const random = new SeededRandom(seed);
      const moments: Moment[] = [];
      await using rig = await CrashRig.start(corpus);
      const nextMoment = async (): Promise<Moment> => {
        const moment = randomMoment(random, await rig.left());
        moments.push(moment);
        return moment;
      };
      try {
        killed += await episode(rig, nextMoment);
        await rig.pushTheRest();
        await checkRest(rig);
      } catch (cause) {
        const replay = `HANDPICK_CRASH_SEED=${seed} HANDPICK_CRASH_ROUNDS=1`;
        throw new Error(`${replay}: killed at ${JSON.stringify(moments)}`, { cause });
      }
      for (const { step, phase } of moments) steps.add(`${step} ${phase}`);
    }
    t.diagnostic(`seed ${SEED}: ${killed} kills, ${steps.size} kinds of moments`);
  }

  /** Checks the folder that the server leaves, now and when it is started two days later. */
  async function checkRest(rig: CrashRig): Promise<void> {
    await rig.serve[Symbol.asyncDispose]();
    const { dir } = rig.serve;
    await checkFolder(dir);
    const address = { host: "127.0.0.1", port: 0, name: "crash", isPrivate: false };
    const now = (): number => Date.now() + 48 * 60 * 60 * 1000;
    await using _server = await startServer({ dir, ...address }, { now });
    await checkFolder(dir);
  }

  it("completes what a killed push left, and sends only that", async (t) => {
    await killOften(t, ROUNDS, async (rig, nextMoment) => {
      let killed = 0;
      for (let turn = 0; turn < KILLS_IN_A_ROW; turn += 1) {
        const moment = await nextMoment();
        const push = await rig.push();
        const sprung = rig.proxy.trap(moment, () => push.process.kill("SIGKILL"));
        const status = await push.ended;
        // The server may have done more for the last push than it had when we looked.
        if (rig.proxy.disarm()) assert.equal(status, 0, await push.complaints());
        else {
          await sprung;
          assert.equal(status, -1);
          killed += 1;
        }
        await rig.check();
      }
      return killed;
    });
  });

  it("lives through a server that is killed and comes back", async (t) => {
    await killOften(t, ROUNDS, async (rig, nextMoment) => {
      let moment = await nextMoment();
      const push = await rig.push();
      let isOver = false;
      const ended = push.ended.finally(() => {
        isOver = true;
      });
      let killed = 0;
      while (killed < KILLS_IN_A_ROW) {
        const sprung = rig.proxy.trap(moment, () => rig.killServer());
        await Promise.race([sprung, ended]);
        if (isOver && rig.proxy.disarm()) break;
        killed += 1;
        await rig.restart(async () => {
          moment = await nextMoment();
        });
      }
      assert.equal(await ended, 0, await push.complaints());
      return killed;
    });
  });

  it("recovers when push and server die together", async (t) => {
    await killOften(t, Math.ceil(ROUNDS / 10), async (rig, nextMoment) => {
      const moment = await nextMoment();
      const push = await rig.push();
      const sprung = rig.proxy.trap(moment, () => {
        push.process.kill("SIGKILL");
        rig.killServer();
      });
      assert.equal(await push.ended, -1);
      await sprung;
      await rig.restart();
      return 1;
    });
  });

  it("recovers when two pushes of the same closure die", async (t) => {
    await killOften(t, Math.ceil(ROUNDS / 10), async (rig, nextMoment) => {
      rig.mostRevisions = 2;
      await using other = await CrashProxy.start(rig.serve.url);
      const proxies = [rig.proxy, other];
      const moments = [await nextMoment(), await nextMoment()];
      const statuses = moments.map(async (moment, index) => {
        const proxy = proxies[index] ?? other;
        const push = await rig.push(proxy);
        proxy.trap(moment, () => push.process.kill("SIGKILL")).catch(() => undefined);
        const status = await push.ended;
        assert.equal(status, proxy.disarm() ? 0 : -1, await push.complaints());
        return status;
      });
      const killed = (await Promise.all(statuses)).filter((status) => status !== 0).length;
      await rig.check();
      return killed;
    });
  });

  it("leaves a cache that Nix trusts", async () => {
    await using rig = await CrashRig.start(corpus);
    const push = await rig.push();
    const moment = { step: "complete", nth: 9, phase: "working", workMs: 5 } as const;
    await rig.proxy.trap(moment, () => rig.killServer());
    await rig.restart();
    assert.equal(await push.ended, 0, await push.complaints());
    const fresh = freshMachine(corpus.nix, rig.serve);
    await corpus.nix.run("nix-store", ["--realise", corpus.top], { env: fresh.env });
    await corpus.nix.run("nix-store", ["--verify", "--check-contents"], { env: fresh.env });
  });
});
