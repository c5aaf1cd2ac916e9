import type { Handler } from "../faults/fault-proxy.ts";
import type { Fault } from "../faults/faults.ts";
import { answering, html, lose, passingFaults } from "../faults/faults.ts";
import { withStrokes } from "./fault-step.ts";
import type { Cue, Effect } from "./fault-step.ts";

/** Closes connections that the client keeps for its next requests. */
export const CLOSING: Effect = "closed a moment later";

/** Never answers; the server hears of nothing. */
const hang: Handler = async (exchange) => void (await exchange.body());

/** Sends the answer in single bytes, for longer than anybody waits. */
const trickle: Handler = async (exchange) => exchange.trickle(await exchange.pass());

/** Happens to each request in the same way, whatever it is for. */
const SHARED: readonly Fault[] = [
  ...passingFaults("unknown"),
  { name: "hang", play: hang },
  { name: "trickle", play: trickle },
  { name: "login page", play: html(200) },
  { name: "401", play: answering(401) },
  { name: "403", play: answering(403) },
  { name: "403, a page", play: html(403) },
  { name: "404", play: answering(404) },
  { name: "500", play: answering(500) },
  { name: "507", play: answering(507) },
  { name: "cut for good", play: lose },
];

/** Effects on the requests of a server. */
export interface HttpEffects {
  /** Handler of requests for `operation` under an effect; undefined for a stroke. */
  readonly handlerOf: (operation: string, effect: Effect) => Handler | undefined;
  /** Lists the effects that a cue may have. */
  readonly effectsOf: (cue: Cue) => readonly Effect[];
}

/** The effects that all requests have, and `own` of some operations besides. */
export function httpEffects(own: Readonly<Record<string, readonly Fault[]>>): HttpEffects {
  const all = (operation: string): readonly Fault[] => [...(own[operation] ?? []), ...SHARED];
  return {
    handlerOf: (operation, effect) => all(operation).find(({ name }) => name === effect)?.play,
    effectsOf: (cue) => withStrokes(cue, [...new Set(all(cue).map(({ name }) => name))]),
  };
}

/** Effects on requests to a server of which nothing else is known, as an upstream. */
export const SHARED_EFFECTS: HttpEffects = httpEffects({});

/** Effects that go on once they began. */
export const LASTING_EFFECTS: ReadonlySet<Effect> = new Set([
  "cut for good",
  "500 for good",
  "503 for good",
  "done, and cut for good",
  "401",
  "403",
  "ENOSPC",
  "EDQUOT",
  "EROFS",
]);
