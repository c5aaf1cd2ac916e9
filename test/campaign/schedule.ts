import { SeededRandom } from "../crash/random.ts";
import { LASTING_EFFECTS, SHARED_EFFECTS } from "./effects.ts";
import { CACHES, isStroke } from "./fault-step.ts";
import type { CacheName, Effect, FaultStep } from "./fault-step.ts";
import type { CueRow, KindName } from "./kinds/kind.ts";
import { KIND_NAMES, KINDS } from "./kinds/kinds.ts";

/** `status` is never drawn; it is asked once the faults are over. */
export type RunCommand = "push" | "sync" | "exec" | "status";

/** One start of the program, and what goes wrong meanwhile. */
export interface RunStep {
  readonly command: RunCommand;
  readonly faults: readonly FaultStep[];
}

/** A round: the runs of the program on one state folder, one after the other. */
export interface Schedule {
  /** The kinds of its caches, one or two. */
  readonly kinds: readonly [KindName, KindName?];
  /** Tells whether caches that can hide a path until its closure is complete, and say so. */
  readonly hides: boolean;
  /** Tells whether readers have an upstream, which has one of the paths. */
  readonly upstream: boolean;
  /** Where the program finds the token. */
  readonly token: "file" | "variable";
  /** Tells whether the program signs, for caches that take signatures. */
  readonly signs: boolean;
  /** Reason of the last run, which has no faults, to try again: it is asked to, or a day has passed. */
  readonly heal: "recheck" | "day";
  readonly runs: readonly RunStep[];
}

export interface DrawOptions {
  /** @default {sync, push and exec} */
  readonly commands?: readonly RunCommand[] | undefined;
  /** @default {every kind} */
  readonly kinds?: readonly KindName[] | undefined;
}

const COMMANDS: readonly RunCommand[] = ["sync", "sync", "push", "exec"];
/** Numbers of faults in a run; some are never met. */
const FAULTS = [0, 2, 3, 4, 6, 9, 12] as const;

/**
 * Draws a schedule: the same for the same seed. The kind of its first cache comes with the seed by turns, so that
 * seeds which count on have all kinds alike.
 */
export function drawSchedule(
  seed: number,
  { commands = COMMANDS, kinds = KIND_NAMES }: DrawOptions = {},
): Schedule {
  const random = new SeededRandom(seed);
  const first = kinds[seed % kinds.length] ?? "cachix";
  const others = kinds.filter((kind) => kind !== first);
  const second = others.length > 0 && random.below(3) === 0 ? random.pick(others) : undefined;
  const drawn: Schedule["kinds"] = second === undefined ? [first] : [first, second];
  const hides = random.below(2) === 0;
  const upstream = random.below(3) === 0;
  const token = random.pick(["file", "variable"] as const);
  const signs = random.below(2) === 0;
  const heal = random.pick(["recheck", "day"] as const);
  const draw = [
    ...cachesOf(drawn).map(
      ({ name, kind }) =>
        () =>
          drawFault(random, name, kind),
    ),
    ...(upstream ? [() => drawUpstreamFault(random)] : []),
  ];
  const runs = Array.from({ length: 1 + random.below(3) }, () => ({
    command: random.pick(commands),
    faults: Array.from({ length: random.pick(FAULTS) }, () => random.pick(draw)()),
  }));
  return { kinds: drawn, hides, upstream, token, signs, heal, runs };
}

/** The caches of a round by their names, with their kinds. */
export function cachesOf(
  kinds: Schedule["kinds"],
): readonly { readonly name: CacheName; readonly kind: KindName }[] {
  return CACHES.flatMap((name, at) => {
    const kind = kinds[at];
    return kind === undefined ? [] : [{ name, kind }];
  });
}

function drawFault(random: SeededRandom, cache: CacheName, kind: KindName): FaultStep {
  const { cues, effectsOf } = KINDS[kind];
  const row = random.pick(cues.flatMap((row) => Array<CueRow>(row.weight).fill(row)));
  return { cache, ...drawStep(random, row, effectsOf(row.cue)) };
}

function drawUpstreamFault(random: SeededRandom): FaultStep {
  const row = { cue: "any", weight: 1, most: 14 };
  return { cache: "upstream", ...drawStep(random, row, SHARED_EFFECTS.effectsOf("any")) };
}

function drawStep(
  random: SeededRandom,
  { cue: operation, most }: CueRow,
  effects: readonly Effect[],
): Omit<FaultStep, "cache"> {
  // Small numbers more often: a run has that many requests only if nothing ended it.
  const nth = 1 + random.below(1 + random.below(most));
  const effect = random.pick(effects);
  const isLasting = LASTING_EFFECTS.has(effect) || (!isStroke(effect) && random.below(10) === 0);
  return { operation, nth, times: isLasting ? 0 : 1 + random.below(2), effect };
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
  const runs = Array.isArray(schedule.runs) ? schedule.runs : [];
  const kinds = Array.isArray(schedule.kinds) ? schedule.kinds : [];
  const isKnown = kinds.length > 0 && kinds.every((kind) => Object.hasOwn(KINDS, String(kind)));
  const known = effectsOf(isKnown ? schedule.kinds : undefined);
  const faults = runs.flatMap((run) => run.faults);
  const unknown = faults.find(({ effect }) => !known.has(effect));
  if (runs.length === 0 || unknown !== undefined || !isKnown) {
    const found = JSON.stringify(unknown?.effect ?? line.slice(0, 80));
    throw new SyntaxError(
      `Cannot play the schedule: expected runs with known effects on known kinds, found ${found}`,
    );
  }
  return schedule;
}

function effectsOf(kinds: Schedule["kinds"] = ["cachix"]): ReadonlySet<Effect> {
  const own = cachesOf(kinds).flatMap(({ kind }) =>
    KINDS[kind].cues.flatMap(({ cue }) => KINDS[kind].effectsOf(cue)),
  );
  return new Set([...own, ...SHARED_EFFECTS.effectsOf("any")]);
}
