import type { Operation } from "../fakes/cachix-service.ts";
import { SeededRandom } from "../crash/random.ts";
import { EFFECTS, LASTING_EFFECTS, STROKES, effectsOf } from "./effects.ts";
import type { Effect } from "./effects.ts";

/** The caches of a round, in the order in which they are configured. */
export const CACHES = ["one", "two"] as const;

export type CacheName = (typeof CACHES)[number];

/** A server that faults may be at. */
export type ServerName = CacheName | "upstream";

/** Cue of a fault: a request for one thing, any request, or time. */
export type Cue = Operation | "any" | "time";

/** Disturbs requests of one cache: the `nth` for `operation`, and `times` in all from there on. */
export interface FaultStep {
  readonly cache: ServerName;
  /** `any` counts all requests of the cache, `time` steps of {@link TIME_STEP_MS} from the start. */
  readonly operation: Cue;
  /** The first is 1. */
  readonly nth: number;
  /** 0 stands for all that follow. */
  readonly times: number;
  readonly effect: Effect;
}

/** `status` is never drawn; it is asked once the faults are over. */
export type RunCommand = "push" | "sync" | "exec" | "status";

/** One start of the program, and what goes wrong meanwhile. */
export interface RunStep {
  readonly command: RunCommand;
  readonly faults: readonly FaultStep[];
}

/** A round: the runs of the program on one state folder, one after the other. */
export interface Schedule {
  readonly caches: 1 | 2;
  /** Tells whether the caches hide a path until its closure is complete, and say so. */
  readonly hides: boolean;
  /** Tells whether readers have an upstream, which has one of the paths. */
  readonly upstream: boolean;
  /** Where the program finds the token. */
  readonly token: "file" | "variable";
  /** Reason of the last run, which has no faults, to try again: it is asked to, or a day has passed. */
  readonly heal: "recheck" | "day";
  readonly runs: readonly RunStep[];
}

const COMMANDS: readonly RunCommand[] = ["sync", "sync", "push", "exec"];
/** Weights of the cues: more where more can go wrong. */
const WEIGHTS: readonly (readonly [Cue, number])[] = [
  ["info", 1],
  ["missing", 1],
  ["begin", 2],
  ["part-url", 2],
  ["put", 3],
  ["complete", 3],
  ["abort", 1],
  ["pin", 1],
  ["list-pins", 1],
  ["any", 3],
  ["time", 2],
];
const OPERATIONS = WEIGHTS.flatMap(([operation, weight]) =>
  Array.from({ length: weight }, () => operation),
);
/** With this step most of a run is passed, from its start on. */
export const TIME_STEP_MS = 40;
/** Numbers of faults in a run; some are never met. */
const FAULTS = [0, 2, 3, 4, 6, 9, 12] as const;
/** Requests for one thing that a round makes, about. */
const MOST_REQUESTS = 14;
const ONCE_ONLY: ReadonlySet<string> = new Set(["info", "missing", "pin", "list-pins"]);

/** Draws a schedule: the same for the same seed. */
export function drawSchedule(seed: number, commands: readonly RunCommand[] = COMMANDS): Schedule {
  const random = new SeededRandom(seed);
  const caches = random.pick([1, 1, 2] as const);
  const hides = random.below(2) === 0;
  const upstream = random.below(3) === 0;
  const token = random.pick(["file", "variable"] as const);
  const heal = random.pick(["recheck", "day"] as const);
  const servers = [...CACHES.slice(0, caches), ...(upstream ? (["upstream"] as const) : [])];
  const runs = Array.from({ length: 1 + random.below(3) }, () => ({
    command: random.pick(commands),
    faults: Array.from({ length: random.pick(FAULTS) }, () => drawFault(random, servers)),
  }));
  return { caches, hides, upstream, token, heal, runs };
}

function drawFault(random: SeededRandom, servers: readonly ServerName[]): FaultStep {
  const cache = random.pick(servers);
  const operation = cache === "upstream" ? "any" : random.pick(OPERATIONS);
  // Small numbers more often: a run has that many requests only if nothing ended it.
  const nth = 1 + random.below(ONCE_ONLY.has(operation) ? 2 : 1 + random.below(MOST_REQUESTS));
  const effect = random.pick(effectsOf(operation));
  const isStroke = STROKES.some((stroke) => stroke === effect);
  const isLasting = LASTING_EFFECTS.has(effect) || (!isStroke && random.below(10) === 0);
  return { cache, operation, nth, times: isLasting ? 0 : 1 + random.below(2), effect };
}

/** One line that plays the schedule again. */
export function formatSchedule(schedule: Schedule): string {
  return JSON.stringify(schedule);
}

/**
 * Reads such a line.
 *
 * @throws {SyntaxError} If it is none.
 */
export function parseSchedule(line: string): Schedule {
  const schedule = JSON.parse(line) as Schedule;
  const faults = Array.isArray(schedule.runs) ? schedule.runs.flatMap((run) => run.faults) : [];
  const unknown = faults.find(({ effect }) => !EFFECTS.has(effect));
  if (!Array.isArray(schedule.runs) || schedule.runs.length === 0 || unknown !== undefined) {
    const found = JSON.stringify(unknown?.effect ?? line.slice(0, 80));
    throw new SyntaxError(
      `Cannot play the schedule: expected runs with known effects, found ${found}`,
    );
  }
  return schedule;
}
