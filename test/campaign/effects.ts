import type { Operation } from "../fakes/cachix-service.ts";
import type { Handler } from "../faults/fault-proxy.ts";
import { answering, html, lastingFaults, lose, passingFaults } from "../faults/faults.ts";

/** Name of something that happens to a request or to the program, as schedules have it. */
export type Effect = string;

/** Effects on the program, the clock, the token or the server, when a request comes. */
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
  "server gone",
] as const;

export type Stroke = (typeof STROKES)[number];

/** Closes connections that the client keeps for its next requests. */
export const CLOSING: Effect = "closed a moment later";

/** By how much a stroke steps the clock of the program, in milliseconds. */
export const CLOCK_STEPS: ReadonlyMap<string, number> = new Map([
  ["clock +2 h", 2 * 3_600_000],
  ["clock -2 h", -2 * 3_600_000],
  ["clock +10 years", 3_650 * 86_400_000],
  ["clock -10 years", -3_650 * 86_400_000],
]);

/** Never answers; the server hears of nothing. */
const hang: Handler = async (exchange) => void (await exchange.body());

/** Sends the answer in single bytes, for longer than anybody waits. */
const trickle: Handler = async (exchange) => exchange.trickle(await exchange.pass());

/** Answers each request in the same way, whatever it is for. */
const ANSWERS: readonly (readonly [Effect, Handler])[] = [
  ["hang", hang],
  ["trickle", trickle],
  ["login page", html(200)],
  ["401", answering(401)],
  ["403", answering(403)],
  ["403, a page", html(403)],
  ["404", answering(404)],
  ["500", answering(500)],
  ["507", answering(507)],
  ["cut for good", lose],
];

const OPERATIONS: readonly Operation[] = [
  ...(["info", "missing", "begin", "part-url", "put", "complete", "abort"] as const),
  ...(["pin", "list-pins"] as const),
];

const OWN: ReadonlyMap<string, ReadonlyMap<Effect, Handler>> = new Map(
  OPERATIONS.map((operation) => [
    operation,
    new Map([
      ...[...passingFaults(operation), ...lastingFaults(operation)].map(
        ({ name, play }) => [name, play] as const,
      ),
      ...ANSWERS,
    ]),
  ]),
);

const SHARED: ReadonlyMap<Effect, Handler> = new Map([
  ...passingFaults("unknown").map(({ name, play }) => [name, play] as const),
  ...ANSWERS,
]);

/** Handler of requests for `operation` under an effect; undefined for a stroke. */
export function handlerOf(operation: Operation, effect: Effect): Handler | undefined {
  return (OWN.get(operation) ?? SHARED).get(effect) ?? SHARED.get(effect);
}

/** Lists the effects that a request for `operation` may have. */
export function effectsOf(operation: Operation | "any" | "time"): readonly Effect[] {
  // The clock is stepped by a signal, which the program has to be there for.
  if (operation === "time") return STROKES.filter((stroke) => !/, done$|^clock/.test(stroke));
  const own = [...(OWN.get(operation) ?? SHARED).keys()];
  // Strokes are as likely as answers, though there are fewer of them.
  return [...own, ...STROKES, ...STROKES];
}

/** Every effect there is. */
export const EFFECTS: ReadonlySet<Effect> = new Set([
  ...OPERATIONS.flatMap((operation) => effectsOf(operation)),
  ...SHARED.keys(),
]);

/** Effects that go on once they began. */
export const LASTING_EFFECTS: ReadonlySet<Effect> = new Set([
  "cut for good",
  "500 for good",
  "503 for good",
  "done, and cut for good",
  "401",
  "403",
]);
