import { readFile } from "node:fs/promises";
import { randomInt } from "node:crypto";
import { parseArgs } from "node:util";

import { campaign, describeFailure } from "../test/campaign/campaign.ts";
import type { CampaignSummary } from "../test/campaign/campaign.ts";
import type { KindName } from "../test/campaign/kinds/kind.ts";
import { KIND_NAMES } from "../test/campaign/kinds/kinds.ts";
import { createMachine } from "../test/campaign/machine.ts";
import type { Machine } from "../test/campaign/machine.ts";
import { play } from "../test/campaign/play.ts";
import { parseSchedule } from "../test/campaign/schedule.ts";
import { bundle } from "./build.ts";

const HELP = `Usage: npm run test:campaign -- [options]

Run push, sync and exec among random faults: of the cache, the network, the
clock and the token, signals and kills; check every promise after each run.

  --minutes <n>       Begin no round later than this (default: 2)
  --kinds <names>     Only caches of these kinds, such as file,s3 (default: all)
  --rounds <n>        Play at most so many rounds (default: no limit)
  --seed <n>          Seed of the first round; the next ones count on (default: random)
  --lanes <n>         Rounds at once, 1 or 2 (default: 2)
  --shrink <n>        Minutes to make a failure smaller (default: 1)
  --replay <schedule> Play one schedule, a line or a file with it, and print all
  --help              Show this help

A failure prints its seed and the smallest schedule that still fails.
Exit: 0 nothing found, 1 something found, 2 wrong usage, 130 interrupted.
`;

process.exitCode = await main();

async function main(): Promise<number> {
  let values: Values;
  try {
    values = parse();
  } catch (error) {
    process.stderr.write(`${String(error)}\n\n${HELP}`);
    return 2;
  }
  if (values.help === true) {
    process.stdout.write(HELP);
    return 0;
  }
  await bundle();
  await using machine = await createMachine();
  if (!machine.canBuild) say("exec is left out: Nix cannot build in a chroot store here");
  return await (values.replay === undefined
    ? playRounds(values, machine)
    : replay(values.replay, machine));
}

interface Values {
  readonly minutes: number;
  readonly rounds: number;
  readonly seed: number;
  readonly lanes: number;
  readonly shrink: number;
  readonly kinds: readonly KindName[] | undefined;
  readonly replay: string | undefined;
  readonly help: boolean | undefined;
}

function parse(): Values {
  const text = { type: "string" } as const;
  const { values } = parseArgs({
    options: {
      minutes: text,
      rounds: text,
      seed: text,
      lanes: text,
      shrink: text,
      replay: text,
      kinds: text,
      help: { type: "boolean" },
    },
  });
  const number = (
    name: Exclude<keyof typeof values, "help" | "kinds">,
    otherwise: number,
  ): number => {
    const found = Number(values[name] ?? otherwise);
    if (!(found > 0)) throw new RangeError(`Cannot use --${name}: expected a number above 0`);
    return found;
  };
  return {
    minutes: number("minutes", 2),
    rounds: number("rounds", Infinity),
    seed: number("seed", randomInt(1, 2 ** 31)),
    lanes: Math.min(number("lanes", 2), 2),
    shrink: number("shrink", 1),
    replay: values.replay,
    kinds: values.kinds?.split(",").map(kindNamed),
    help: values.help,
  };
}

async function playRounds(values: Values, machine: Machine): Promise<number> {
  const { minutes, rounds, seed, lanes, shrink, kinds } = values;
  say(`seed ${seed}`);
  const stopped = new AbortController();
  // A second signal ends it at once.
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stopped.abort());
  const summary = await campaign({
    machine,
    seed,
    rounds,
    kinds,
    lanes,
    lengthMs: minutes * 60_000,
    shrinkMs: shrink * 60_000,
    signal: stopped.signal,
    onFailure: (failure) => say(describeFailure(failure)),
  });
  say(inWords(summary));
  if (stopped.signal.aborted) return 130;
  return summary.failures > 0 ? 1 : 0;
}

function inWords({ rounds, runs, requests, disturbed, failures, kinds }: CampaignSummary): string {
  const faults = `${requests} requests, ${disturbed} of them disturbed`;
  const caches = KIND_NAMES.map((kind) => `${kind} in ${kinds.get(kind) ?? 0}`).join(", ");
  return `${rounds} rounds (${caches}), ${runs} runs, ${faults}: ${failures} rounds failed`;
}

function kindNamed(text: string): KindName {
  const kind = KIND_NAMES.find((name) => name === text);
  if (kind !== undefined) return kind;
  throw new RangeError(`Cannot use --kinds: expected some of ${KIND_NAMES.join(", ")}`);
}

async function replay(given: string, machine: Machine): Promise<number> {
  const line = given.trim().startsWith("{") ? given : await readFile(given, "utf8");
  const { findings, transcript } = await play(machine, parseSchedule(line));
  say(transcript);
  for (const { check, run, text } of findings) say(`${check} (run ${run}): ${text}`);
  say(`${findings.length} findings`);
  return findings.length > 0 ? 1 : 0;
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
