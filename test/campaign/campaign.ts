import type { KindName } from "./kinds/kind.ts";
import type { Machine } from "./machine.ts";
import { play } from "./play.ts";
import type { Finding, Played } from "./play.ts";
import { cachesOf, drawSchedule, formatSchedule } from "./schedule.ts";
import type { RunCommand, Schedule } from "./schedule.ts";
import { shrinkSchedule } from "./shrink.ts";

export interface CampaignOptions {
  readonly machine: Machine;
  readonly seed: number;
  /** No round begins later than so many milliseconds from the start. */
  readonly lengthMs: number;
  /** Limit on the number of rounds. */
  readonly rounds: number;
  /** Rounds at once. */
  readonly lanes: number;
  /** The kinds of caches. @default {every kind} */
  readonly kinds?: readonly KindName[] | undefined;
  /** Time to make one failure smaller. */
  readonly shrinkMs: number;
  readonly onFailure: (failure: CampaignFailure) => void;
  /** Ends the campaign after the rounds that are under way, whose findings do not count. */
  readonly signal: AbortSignal;
}

export interface CampaignFailure {
  /** The seed of the round. */
  readonly seed: number;
  readonly findings: readonly Finding[];
  readonly smallest: Schedule;
  /** The last play of the smallest schedule. */
  readonly played: Played;
}

/** Counts of a campaign. */
export interface CampaignSummary {
  readonly rounds: number;
  /** Rounds with a cache of a kind. */
  readonly kinds: ReadonlyMap<KindName, number>;
  readonly runs: number;
  readonly requests: number;
  readonly disturbed: number;
  readonly failures: number;
}

/** Plays rounds, each drawn from a seed of its own, until the time or the number is reached. */
export async function campaign(options: CampaignOptions): Promise<CampaignSummary> {
  const { machine, seed, lengthMs, rounds, lanes, signal } = options;
  const endMs = performance.now() + lengthMs;
  const draw = { commands: commandsFor(machine), kinds: options.kinds };
  const kinds = new Map<KindName, number>();
  const total = { rounds: 0, runs: 0, requests: 0, disturbed: 0, failures: 0, kinds };
  let next = seed;
  const lane = async (): Promise<void> => {
    while (!signal.aborted && performance.now() < endMs && next - seed < rounds) {
      const own = next++;
      const schedule = drawSchedule(own, draw);
      const played = await play(machine, schedule);
      if (signal.aborted) return;
      total.rounds += 1;
      for (const { kind } of cachesOf(schedule.kinds)) kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
      total.runs += played.runs;
      total.requests += played.requests;
      total.disturbed += played.disturbed;
      if (played.findings.length === 0) continue;
      total.failures += 1;
      options.onFailure(await shrink({ own, schedule, played }, options));
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return total;
}

/** `exec` only where Nix can build. */
function commandsFor({ canBuild }: Machine): readonly RunCommand[] | undefined {
  return canBuild ? undefined : ["sync", "push"];
}

interface Failed {
  readonly own: number;
  readonly schedule: Schedule;
  readonly played: Played;
}

async function shrink(failed: Failed, options: CampaignOptions): Promise<CampaignFailure> {
  const endMs = performance.now() + options.shrinkMs;
  const checks = new Set(failed.played.findings.map(({ check }) => check));
  let last = failed.played;
  const failsOnce = async (schedule: Schedule): Promise<boolean> => {
    const played = await play(options.machine, schedule);
    // Another failure is another matter.
    const isSame = played.findings.some(({ check }) => checks.has(check));
    if (isSame) last = played;
    return isSame;
  };
  // Processes do not run twice in the same way.
  const stillFails = async (schedule: Schedule): Promise<boolean> =>
    (await failsOnce(schedule)) || (await failsOnce(schedule));
  const relevant = relevantOf(failed.played);
  const first = (await stillFails(relevant)) ? relevant : failed.schedule;
  const smallest = await shrinkSchedule(first, stillFails, () => {
    return !options.signal.aborted && performance.now() < endMs;
  });
  return { seed: failed.own, findings: failed.played.findings, smallest, played: last };
}

/** Leaves out faults that were not met, and runs after the first finding. */
function relevantOf({ met, findings }: Played): Schedule {
  const last = Math.min(...findings.map(({ at }) => at));
  return { ...met, runs: met.runs.slice(0, last + 1) };
}

/** A failure as people read it, with the line that plays it again. */
export function describeFailure({ seed, findings, smallest, played }: CampaignFailure): string {
  const lines = findings
    .slice(0, 12)
    .map(({ run, check, text }) => `  ${check} (run ${run}): ${text}`);
  const more = findings.length > 12 ? [`  and ${findings.length - 12} more`] : [];
  const left = played.findings.map(({ run, check, text }) => `  ${check} (run ${run}): ${text}`);
  return [
    `Round of seed ${seed} failed:`,
    ...lines,
    ...more,
    "The smallest schedule that fails:",
    ...left.slice(0, 4),
    `  npm run test:campaign -- --replay '${formatSchedule(smallest)}'`,
  ].join("\n");
}
