import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import type { NixRecord } from "../crash/cache-check.ts";
import { describeFailure } from "./campaign.ts";
import { hashPartOf } from "./evidence.ts";
import type { Evidence } from "./evidence.ts";
import type { FaultStep } from "./fault-step.ts";
import { KIND_NAMES } from "./kinds/kinds.ts";
import { createMachine } from "./machine.ts";
import type { Machine } from "./machine.ts";
import { CHECKS, play } from "./play.ts";
import { Round } from "./round.ts";
import { parseSchedule } from "./schedule.ts";
import type { RunCommand, Schedule } from "./schedule.ts";

describe("a round of the campaign", { timeout: 120_000 }, () => {
  let machine: Machine;
  before(async () => {
    machine = await createMachine();
  });
  after(() => machine[Symbol.asyncDispose]());

  it("goes through outage, refusal, kill and a clock that jumps, and finds nothing", async () => {
    const { findings, runs, disturbed, transcript } = await play(machine, {
      ...scheduleOf("sync", "push", "sync"),
      kinds: ["cachix", "file"],
      upstream: true,
      runs: [
        {
          command: "sync",
          faults: [fault("put", 2, "cache gone"), fault("complete", 3, "SIGKILL")],
        },
        {
          command: "push",
          faults: [fault("begin", 2, "clock +10 years"), fault("any", 12, "502, a page")],
        },
        {
          command: "sync",
          faults: [
            fault("put", 1, "token revoked"),
            { ...fault("rename", 3, "SIGTERM"), cache: "two" },
          ],
        },
      ],
    });
    assert.deepEqual(findings, [], transcript);
    assert.equal(runs, 6);
    assert.ok(disturbed > 0);
  });

  for (const kind of KIND_NAMES) {
    it(`notices what is planted in a cache and in the state folder (${kind})`, async () => {
      await using round = await Round.start(machine, { ...scheduleOf("sync"), kinds: [kind] });
      const [step] = scheduleOf("sync").runs;
      assert.ok(step);
      const evidence = await round.run(step, "faults");
      assert.deepEqual(found(evidence), [], evidence.ended.stdout + evidence.ended.stderr);
      const isLeaf = ({ references, path }: NixRecord): boolean =>
        references.length === 0 && path.endsWith("-base");
      const leaf = evidence.records.values().find(isLeaf);
      const isLost = await round.caches[0]?.evict(hashPartOf(leaf?.path ?? ""));
      await round.leave("state/planted", `seen: ${evidence.secrets.at(-1)?.text}`);
      const planted = await round.run({ command: "status", faults: [] }, "faults");
      const lost = isLost === true ? ["closureIsVisible", "ledgerIsTrue"] : [];
      assert.deepEqual(found(planted), [...lost, "secretsAreKept"]);
    });
  }

  it("notices an upload that the program leaves open", async () => {
    await using round = await Round.start(machine, scheduleOf("push"));
    const [cache] = round.caches;
    assert.ok(cache);
    // The service forgets that the upload was published.
    const evidence = await round.run({ command: "push", faults: [] }, "faults");
    const { log: all } = cache.player;
    const upload = all.find(({ operation }) => operation === "put")?.upload ?? "";
    const log = all.filter((one) => one.operation !== "complete");
    const caches = evidence.caches.map((one) => ({ ...one, log, open: [upload] }));
    assert.deepEqual(found({ ...evidence, caches }), ["uploadsAreEnded"]);
  });

  it("tells a failure with a line that plays it again", async () => {
    const smallest = scheduleOf("exec");
    const findings = [{ check: "endsInTime", text: "did not end", run: "1, faults: exec", at: 0 }];
    const played = { findings, runs: 1, requests: 1, disturbed: 1, met: smallest, transcript: "" };
    const text = describeFailure({ seed: 7, findings, smallest, played });
    assert.match(
      text,
      /^Round of seed 7 failed:\n {2}endsInTime \(run 1, faults: exec\): did not end/,
    );
    const line = /--replay '(.*)'/.exec(text)?.[1] ?? "";
    assert.deepEqual(parseSchedule(line), smallest);
  });
});

function found(evidence: Evidence): string[] {
  return Object.keys(CHECKS).filter((name) => (CHECKS[name]?.(evidence) ?? []).length > 0);
}

function scheduleOf(...commands: RunCommand[]): Schedule {
  const runs = commands.map((command) => ({ command, faults: [] }));
  return {
    kinds: ["cachix"],
    hides: false,
    upstream: false,
    token: "file",
    signs: false,
    heal: "day",
    runs,
  };
}

function fault(operation: FaultStep["operation"], nth: number, effect: string): FaultStep {
  return { cache: "one", operation, nth, times: 1, effect };
}
