import { setImmediate } from "node:timers/promises";

import { createCachixCache } from "../../src/cache/cachix/cachix-cache.ts";
import type { Cache } from "../../src/cache/contract.ts";
import type { Timeouts } from "../../src/http/http-message.ts";
import type { Clock } from "../../src/clock.ts";
import { HandpickError } from "../../src/error.ts";
import { hashPartOf } from "../../src/nix/store-path.ts";
import type { HashPart } from "../../src/nix/store-path.ts";
import { makePlan, queryPaths } from "../../src/plan/make-plan.ts";
import { pushPlan } from "../../src/run/push-plan.ts";
import { reasonText } from "../../src/report/reason-text.ts";
import type { RunEvent } from "../../src/run/push-plan.ts";
import type { Graph } from "./graph.ts";

const CACHE = "acme";

/** How a push of the graph went. */
export interface Outcome {
  /** The error that ended it, if one did. */
  readonly error: HandpickError | undefined;
  readonly pushed: readonly HashPart[];
  readonly failed: readonly HashPart[];
  readonly held: readonly HashPart[];
  /** Why paths failed or were held. */
  readonly reasons: readonly string[];
}

/** Time stands still, however long the push thinks that it waits. */
const clock: Clock = {
  now: () => Date.UTC(2026, 0, 1),
  elapsed: () => 0,
  sleep: async (_ms, signal) => {
    await setImmediate();
    signal.throwIfAborted();
  },
};

export interface PushGraphOptions {
  readonly host: string;
  readonly token: string;
  /** @default {as for users} */
  readonly timeouts?: Timeouts;
}

/** Pushes the whole graph to a cache, as the command does once it has read its input. */
export async function pushGraph(
  { store, pick, infos }: Graph,
  options: PushGraphOptions,
): Promise<Outcome> {
  const names = { name: CACHE, cacheName: CACHE };
  await using cache = createCachixCache({ ...options, ...names, env: {}, clock });
  const events: RunEvent[] = [];
  const { signal } = new AbortController();
  const end = async (): Promise<HandpickError | undefined> => {
    try {
      const prepared = await prepareGraph({ pick, infos }, cache, signal);
      const onEvent = (event: RunEvent): void => void events.push(event);
      const options = { store, signal, onEvent, onHole: "hold", pool: { threads: 2 } } as const;
      const { failures } = await pushPlan(prepared, options);
      if (failures.length > 0) throw failures[0];
      return undefined;
    } catch (error) {
      if (error instanceof HandpickError) return error;
      throw error;
    }
  };
  const error = await end();
  const ended = (name: RunEvent["event"]): HashPart[] =>
    events.flatMap((event) =>
      event.event === name && "path" in event ? [hashPartOf(event.path)] : [],
    );
  return {
    error,
    pushed: ended("pushed"),
    failed: ended("failed"),
    held: ended("held"),
    reasons: events.flatMap((event) => {
      if (event.event === "failed" || event.event === "pin-failed") return [event.error.message];
      return event.event === "held" ? [reasonText(event.reason)] : [];
    }),
  };
}

type Prepared = Parameters<typeof pushPlan>[0];

async function prepareGraph(
  { pick, infos }: Pick<Graph, "pick" | "infos">,
  cache: Cache,
  signal: AbortSignal,
): Promise<Prepared> {
  const info = await cache.info(signal);
  const routed = { ...pick, caches: [CACHE], members: new Set(infos.keys()) };
  const paths = queryPaths({ closed: [routed], infos });
  const missing = await cache.missing([...paths].map(hashPartOf), signal);
  const rules = { exclude: [], maxNarSize: undefined, onHole: "hold" } as const;
  const caches = [{ name: CACHE, missing, upstream: new Map(), unknown: NONE }];
  return {
    picks: [routed],
    plan: makePlan({ closed: [routed], infos, rules, caches }),
    caches: [{ config: CONFIG, cache, credentials: CREDENTIALS, info }],
    infos,
    warnings: [],
    failures: [],
    rejected: [],
  };
}

const NONE: ReadonlySet<HashPart> = new Set();

const CONFIG: Prepared["caches"][number]["config"] = {
  name: CACHE,
  url: `cachix://${CACHE}`,
  host: undefined,
  tokenFile: undefined,
  tokenEnv: undefined,
  dhallFile: undefined,
  signingKeyFile: undefined,
  upstreams: undefined,
  compression: undefined,
  compressionLevel: undefined,
  optional: false,
  foundFile: undefined,
};

const CREDENTIALS: Prepared["caches"][number]["credentials"] = {
  token: undefined,
  tokenSource: undefined,
  signingKey: undefined,
  keySource: undefined,
  host: undefined,
  warnings: [],
};
