import {
  bytesAreRecorded,
  closureIsVisible,
  nothingElseIsSent,
  nothingPublishedIsGivenUp,
  protocolIsKept,
  readersGetAll,
  uploadsAreEnded,
} from "./checks-cache.ts";
import {
  allIsThere,
  doneIsDone,
  endsInTime,
  exitCodeFits,
  ledgerIsTrue,
  nothingIsLeft,
  outputIsClean,
  pinsAreSetOnce,
  pushedIsThere,
} from "./checks-run.ts";
import { secretsAreKept } from "./checks-secret.ts";
import type { Check, Evidence } from "./evidence.ts";
import type { Machine } from "./machine.ts";
import { Round } from "./round.ts";
import type { RunCommand, RunStep, Schedule } from "./schedule.ts";

/** The checks after every run, by name. */
export const CHECKS: Readonly<Record<string, Check>> = {
  closureIsVisible,
  bytesAreRecorded,
  nothingElseIsSent,
  uploadsAreEnded,
  nothingPublishedIsGivenUp,
  protocolIsKept,
  readersGetAll,
  endsInTime,
  exitCodeFits,
  outputIsClean,
  pushedIsThere,
  ledgerIsTrue,
  allIsThere,
  doneIsDone,
  pinsAreSetOnce,
  nothingIsLeft,
  secretsAreKept,
};

/** One thing that a check found wrong after a run. */
export interface Finding {
  readonly check: string;
  readonly text: string;
  /** The run, by its place and command. */
  readonly run: string;
  /** The place of the run; the first is 0. */
  readonly at: number;
}

/** Result of a round. */
export interface Played {
  readonly findings: readonly Finding[];
  /** Starts of the program, requests, and those among them that something happened to. */
  readonly runs: number;
  readonly requests: number;
  readonly disturbed: number;
  /** The schedule without the faults that no request met. */
  readonly met: Schedule;
  /** Requests and output of all runs, to look into a failure. */
  readonly transcript: string;
}

/** Plays a schedule, then lets the program put all right, and checks after every run. */
export async function play(machine: Machine, schedule: Schedule): Promise<Played> {
  await using round = await Round.start(machine, schedule);
  const evidence: Evidence[] = [];
  for (const step of schedule.runs) evidence.push(await round.run(step, "faults"));
  // Status tells of times, which clocks that jumped have written.
  evidence.push(await round.run({ command: "status", faults: [] }, "faults"));
  for (const stage of ["heal", "again"] as const) {
    const commands: readonly RunCommand[] = (await round.hasBuilt()) ? ["sync", "push"] : ["sync"];
    for (const command of commands) {
      evidence.push(await round.run({ command, faults: [] }, stage));
    }
  }
  const requests = evidence.flatMap(({ caches }) => caches.flatMap(({ log }) => log));
  return {
    findings: evidence.flatMap(findingsIn),
    runs: evidence.length,
    requests: requests.length,
    disturbed: requests.filter(({ fault }) => fault !== undefined).length,
    met: { ...schedule, runs: schedule.runs.map((step, at) => metIn(step, evidence[at])) },
    transcript: evidence.map(transcriptOf).join("\n"),
  };
}

function metIn(step: RunStep, evidence: Evidence | undefined): RunStep {
  const met = new Set(evidence?.caches.flatMap(({ log }) => log.map(({ fault }) => fault)));
  return {
    ...step,
    faults: step.faults.filter((fault) => fault.operation === "time" || met.has(fault)),
  };
}

function findingsIn(evidence: Evidence, at: number): Finding[] {
  const run = `${at + 1}, ${evidence.stage}: ${evidence.step.command}`;
  return Object.entries(CHECKS).flatMap(([check, find]) =>
    find(evidence).map((text) => ({ check, text, run, at })),
  );
}

function transcriptOf({ ended, caches, signals, stage }: Evidence): string {
  const log = caches.flatMap(({ name, log }) =>
    log.map(({ operation, target, fault, status }) => {
      const answer = `${status() ?? "no answer"}${fault === undefined ? "" : ` (${fault.effect})`}`;
      return `  ${name} ${operation} ${target.slice(-60)} -> ${answer}`;
    }),
  );
  return [
    `== ${stage}: ${ended.args.join(" ")}`,
    ...log,
    ended.stdout.trimEnd(),
    ended.stderr.trimEnd(),
    `-- ${ended.status ?? ended.signal} after ${Math.round(ended.durationMs)} ms; ${signals.join(" ")}`,
  ].join("\n");
}
