import assert from "node:assert/strict";
import { after, before, describe, it, type TestContext } from "node:test";

import type { FaultStep } from "../campaign/fault-step.ts";
import type { KindName } from "../campaign/kinds/kind.ts";
import { KIND_NAMES, KINDS } from "../campaign/kinds/kinds.ts";
import { createMachine, type Machine } from "../campaign/machine.ts";
import { play } from "../campaign/play.ts";
import { formatSchedule, type Schedule } from "../campaign/schedule.ts";
import { ROUNDS, SEED } from "./crash-rig.ts";
import { SeededRandom } from "./random.ts";

/** Kinds that kill.e2e.test.ts and show-all.e2e.test.ts leave out: those two have servers that speak as Cachix does. */
const OTHERS = KIND_NAMES.filter((kind) => kind !== "cachix" && kind !== "serve");

/** Kills in a row before the program is let through. */
const KILLS_IN_A_ROW = 3;

/** A kill at a request, or at a call to a disk: before it or after it was done. */
function randomKill(random: SeededRandom, kind: KindName): FaultStep {
  const { cue, most } = random.pick(KINDS[kind].cues.filter((row) => row.cue !== "time"));
  const effect = random.pick(["SIGKILL", "SIGKILL, done"] as const);
  return { cache: "one", operation: cue, nth: 1 + random.below(most), times: 1, effect };
}

function randomSchedule(random: SeededRandom, kind: KindName): Schedule {
  return {
    kinds: [kind],
    hides: false,
    upstream: false,
    token: random.pick(["file", "variable"] as const),
    signs: random.below(2) === 0,
    heal: random.pick(["recheck", "day"] as const),
    runs: Array.from({ length: KILLS_IN_A_ROW }, () => ({
      command: random.pick(["push", "sync"] as const),
      faults: [randomKill(random, kind)],
    })),
  };
}

// Side by side, since a run waits before it tries again.
describe("handpick push and sync, killed", { timeout: 600_000, concurrency: 2 }, () => {
  let machine: Machine;
  before(async () => {
    machine = await createMachine();
  });
  after(() => machine[Symbol.asyncDispose]());

  async function killOften(t: TestContext, kind: KindName): Promise<void> {
    let killed = 0;
    for (let seed = SEED; killed < Math.ceil(ROUNDS / OTHERS.length); seed += 1) {
      const schedule = randomSchedule(new SeededRandom(seed), kind);
      const { findings, met, transcript } = await play(machine, schedule);
      const replay = `npm run test:campaign -- --replay '${formatSchedule(schedule)}'`;
      assert.deepEqual(findings, [], `${replay}\n${transcript}`);
      killed += met.runs.flatMap(({ faults }) => faults).length;
    }
    t.diagnostic(`seed ${SEED}: ${killed} kills`);
  }

  for (const kind of OTHERS) {
    it(`leave a cache of kind ${kind} that readers can use, and complete it`, async (t) => {
      await killOften(t, kind);
    });
  }
});
