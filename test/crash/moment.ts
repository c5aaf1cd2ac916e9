import type { SeededRandom } from "./random.ts";

/** The requests of a push, in the order in which a path meets them. */
export type Step =
  | "info"
  | "query"
  | "begin"
  | "part-url"
  | "part"
  | "large-part"
  | "complete"
  | "pins"
  | "pin"
  | "other";

/**
 * How far a request is:
 *
 *     asked -> half (of the body sent on) -> working (all of it, no answer) -> answered -> told
 */
export type Phase = "asked" | "half" | "working" | "answered" | "told";

/** When a process is to die. */
export interface Moment {
  /** "any" counts all requests. */
  readonly step: Step | "any";
  /** The first such request is 1. */
  readonly nth: number;
  readonly phase: Phase;
  /** How long the server may work in the phase "working". */
  readonly workMs: number;
}

/** What a push has still to do, by which a moment can be chosen that comes. */
export interface Left {
  readonly smallPaths: number;
  readonly largeParts: number;
  readonly isPinned: boolean;
}

const LARGE_BYTES = 1 << 20;
export const PHASES: readonly Phase[] = ["asked", "half", "working", "answered", "told"];

/** The step that a request of a push to Cachix is. */
export function stepOf(method: string, url: string, bodyBytes: number): Step {
  const { pathname, searchParams } = new URL(url, "http://cache");
  if (method === "PUT") return bodyBytes >= LARGE_BYTES ? "large-part" : "part";
  const [, , , , , call, , verb] = pathname.split("/");
  if (call === undefined) return "info";
  if (call === "narinfo") return "query";
  if (call === "pin") return method === "GET" ? "pins" : "pin";
  if (verb === "complete") return "complete";
  if (searchParams.has("compression")) return "begin";
  return searchParams.has("partNumber") ? "part-url" : "other";
}

/** A moment that a push with so much to do will come to. */
export function randomMoment(random: SeededRandom, left: Left): Moment {
  const paths = left.smallPaths + (left.largeParts > 0 ? 1 : 0);
  const counts: readonly (readonly [Step, number])[] = [
    ["info", 1],
    ["query", 1],
    ["begin", paths],
    ["part-url", left.smallPaths + left.largeParts],
    ["part", left.smallPaths],
    ["large-part", left.largeParts],
    ["complete", paths],
    ["complete", paths],
    ["pins", 1],
    ["pin", left.isPinned ? 0 : 1],
  ];
  const [step, count] = random.pick(counts.filter(([, count]) => count > 0));
  return {
    step,
    nth: 1 + random.below(count),
    phase: random.pick(PHASES),
    workMs: random.below(30),
  };
}
