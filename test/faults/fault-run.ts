import { setImmediate } from "node:timers/promises";

import { createCachixCache } from "../../src/cache/cachix/cachix-cache.ts";
import type { Timeouts } from "../../src/http/http-message.ts";
import type { Clock } from "../../src/clock.ts";
import { HandpickError } from "../../src/error.ts";
import { hashPartOf } from "../../src/nix/store-path.ts";
import type { HashPart } from "../../src/nix/store-path.ts";
import { chooseCache } from "../../src/config/choose-cache.ts";
import { parseConfig } from "../../src/config/config.ts";
import { reasonText } from "../../src/plan/reason-text.ts";
import { SharedPacker } from "../../src/push/shared-packer.ts";
import { runOpened } from "../../src/run/cache-run.ts";
import type { RunEvent } from "../../src/run/events.ts";
import { NO_CREDENTIALS } from "../no-credentials.ts";
import type { Graph } from "./graph.ts";
import { Secret } from "../../src/secret.ts";

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
  { token, ...options }: PushGraphOptions,
): Promise<Outcome> {
  const names = { name: CACHE, cacheName: CACHE };
  await using cache = createCachixCache({
    ...options,
    ...names,
    token: new Secret(token),
    env: {},
    clock,
    // Bounded for a user who waits; on a busy machine an upload is given up later.
    abortMs: 30_000,
  });
  const events: RunEvent[] = [];
  const { signal } = new AbortController();
  const end = async (): Promise<HandpickError | undefined> => {
    await using packer = new SharedPacker({ threads: 2 });
    try {
      const planned = [{ ...pick, caches: [CACHE], members: new Set(infos.keys()) }];
      await runOpened(
        { config: chooseCache(OWN), cache, credentials: NO_CREDENTIALS },
        { planned, infos },
        { ...SETTINGS, packer, store, signal, onEvent: (event) => void events.push(event) },
      );
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

const OWN = parseConfig(`[caches.${CACHE}]\nurl = "cachix://${CACHE}"`, "/handpick.toml", {});

const SETTINGS = {
  config: OWN,
  env: {},
  uid: 1000,
  onWarning: (): void => undefined,
};
