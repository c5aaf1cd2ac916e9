import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { watch } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";

import { checkCache, nixRecords } from "../crash/cache-check.ts";
import { CrashProxy } from "../crash/crash-proxy.ts";
import type { Moment } from "../crash/moment.ts";
import { SeededRandom } from "../crash/random.ts";
import { resultOf, startServe } from "../handpick.ts";
import { SyncRig } from "./sync-rig.ts";

const ROUNDS = Number(process.env["HANDPICK_CRASH_ROUNDS"] ?? 25);
const SEED = Number(process.env["HANDPICK_CRASH_SEED"] ?? randomInt(2 ** 31));

const STEPS = ["query", "info", "begin", "part-url", "part", "complete"] as const;
const PHASES = ["asked", "half", "working", "answered", "told"] as const;
const PATHS = 4;

function randomMoment(random: SeededRandom): Moment {
  const step = random.pick(STEPS);
  const most = step === "query" || step === "info" ? 1 : PATHS;
  return {
    step,
    nth: 1 + random.below(most),
    phase: random.pick(PHASES),
    workMs: random.below(30),
  };
}

describe("handpick sync, killed", { timeout: 480_000 }, () => {
  it("forgets nothing and leaves nothing half done", async (t: TestContext) => {
    const random = new SeededRandom(SEED);
    await using rig = await SyncRig.create();
    await using serve = await startServe(rig.nix, {
      args: ["--listen", "0.0.0.0:0"],
      uncovered: true,
    });
    await using proxy = await CrashProxy.start(serve.url);
    await rig.configure({ mine: proxy.url }, serve.token);
    const wanted: string[] = [];
    const moments: (Moment | "mark taken")[] = [];
    let killed = 0;
    try {
      for (let round = 0; killed < ROUNDS; round += 1) {
        const picks = [{ packages: ["tool", "data"] as const }];
        const made = await rig.declare(`s${round}`, picks, `${round}`);
        wanted.push(made.tool, made.app, made.lib, made.data);
        const moment = random.below(6) === 0 ? "mark taken" : randomMoment(random);
        moments.push(moment);
        if (await killAt(moment, { rig, proxy })) killed += 1;
        await checkCache({ ...serve, name: "mine" }, await nixRecords(rig.nix));
        const { paths } = await rig.status();
        assert.ok(paths.every(({ state }) => state === "waiting" || state === "pushed"));
      }
      assert.equal((await rig.sync()).status, 0);
      const { visible } = await checkCache({ ...serve, name: "mine" }, await nixRecords(rig.nix));
      assert.deepEqual([...visible].toSorted(), wanted.toSorted());
      assert.equal((await rig.status()).caches[0]?.paths.pushed, wanted.length);
      assert.deepEqual(await readdir(join(rig.state, "spool")), []);
      assert.deepEqual(await readdir(join(rig.state, "roots")), []);
    } catch (cause) {
      const replay = `HANDPICK_CRASH_SEED=${SEED} HANDPICK_CRASH_ROUNDS=${ROUNDS}`;
      throw new Error(`${replay}: killed at ${JSON.stringify(moments)}`, { cause });
    }
    t.diagnostic(`seed ${SEED}: ${killed} kills in ${moments.length} rounds`);
  });
});

interface Stage {
  readonly rig: SyncRig;
  readonly proxy: CrashProxy;
}

/** False if the moment did not come. */
async function killAt(moment: Moment | "mark taken", { rig, proxy }: Stage): Promise<boolean> {
  const kill = (): void => void child.kill("SIGKILL");
  const spool = join(rig.state, "spool");
  const watcher = moment === "mark taken" ? watch(spool, kill) : undefined;
  const child = rig.start();
  const sprung = moment === "mark taken" ? undefined : proxy.trap(moment, kill);
  const { status, stderr } = await resultOf(child);
  watcher?.close();
  // A request for nth path comes unless an earlier sync got so far with the path.
  if (moment !== "mark taken" && proxy.disarm()) {
    assert.equal(status, 0, stderr);
    return false;
  }
  await sprung;
  assert.equal(status, -1, stderr);
  return true;
}
