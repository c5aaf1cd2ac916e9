/** The caches of a round, in the order in which they are configured. */
export const CACHES = ["one", "two"] as const;

export type CacheName = (typeof CACHES)[number];

/** A server that faults may be at. */
export type ServerName = CacheName | "upstream";

/** Cue of a fault: a request (or a call to a disk) for one thing, `any` of them, or `time`. */
export type Cue = string;

/** Name of something that happens to a request or to the program, as schedules have it. */
export type Effect = string;

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

/** With this step most of a run is passed, from its start on. */
export const TIME_STEP_MS = 40;

/** Effects on the program, the clock, the token or the place of the cache, when a request comes. */
export const STROKES = [
  "SIGKILL",
  "SIGINT",
  "SIGTERM",
  "SIGINT twice",
  "SIGKILL, done",
  "SIGTERM, done",
  "clock +2 h",
  "clock -2 h",
  "clock +10 years",
  "clock -10 years",
  "token revoked",
  "cache gone",
] as const;

export type Stroke = (typeof STROKES)[number];

/** By how much a stroke steps the clock of the program, in milliseconds. */
export const CLOCK_STEPS: ReadonlyMap<Effect, number> = new Map([
  ["clock +2 h", 2 * 3_600_000],
  ["clock -2 h", -2 * 3_600_000],
  ["clock +10 years", 3_650 * 86_400_000],
  ["clock -10 years", -3_650 * 86_400_000],
]);

export function isStroke(effect: Effect): boolean {
  return STROKES.some((stroke) => stroke === effect);
}

/** Lists what a cue may have, of the effects on its requests: strokes are as likely as those, however many these are. */
export function withStrokes(cue: Cue, effects: readonly Effect[]): readonly Effect[] {
  // The clock is stepped by a signal, which the program has to be there for.
  if (cue === "time") return STROKES.filter((stroke) => !/, done$|^clock/.test(stroke));
  const repeated = (list: readonly Effect[], times: number): Effect[] =>
    Array.from({ length: times }, () => list).flat();
  return [...repeated(effects, STROKES.length), ...repeated(STROKES, effects.length)];
}
