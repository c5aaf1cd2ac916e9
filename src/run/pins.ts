import type { Cache, CachePins } from "../cache/contract.ts";
import { HandpickError, isRefusal, toFailure } from "../error.ts";
import type { StorePath } from "../nix/store-path.ts";
import type { Plan } from "../plan/plan.ts";
import type { RunEvent } from "./events.ts";
import type { PlannedPick } from "./gather.ts";

/** A cache, the picks that go there and the plan for them. */
export interface PinSource {
  readonly cache: Cache;
  readonly picks: readonly PlannedPick[];
  readonly plan: Plan;
}

export interface PinOptions {
  /** Paths that readers will not find in the cache. */
  readonly unavailable: ReadonlySet<StorePath>;
  readonly onEvent: (event: RunEvent) => void;
  readonly signal: AbortSignal;
}

/** Pins the first path of every pick that asks for it, is in the cache and not yet pinned. */
export async function pinPicks(
  { cache, picks, plan }: PinSource,
  { unavailable, onEvent, signal }: PinOptions,
): Promise<void> {
  const named = picks.flatMap(({ pin }) => pin ?? []);
  if (named.length === 0) return;
  if (cache.pins === undefined) {
    const text = `${cache.name}: not pinned: ${named.join(", ")}; a cache of this kind has no pins`;
    onEvent({ event: "note", text });
    return;
  }
  const pinned = await currentPins(cache.pins, signal);
  const upstream = new Set(
    plan.paths.filter(({ action }) => action === "upstream").map(({ path }) => path),
  );
  for (const { pin, paths } of picks) {
    const path = paths[0];
    if (pin === undefined || path === undefined || unavailable.has(path)) continue;
    if (pinned.get(pin) === path) continue;
    if (upstream.has(path)) {
      const text = `${cache.name}: ${path} is not pinned as ${pin}: an upstream has it, not this cache`;
      onEvent({ event: "note", text });
      continue;
    }
    const about = { cache: cache.name, name: pin, path };
    try {
      await cache.pins.set({ name: pin, storePath: path }, signal);
      onEvent({ event: "pinned", ...about });
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof HandpickError && isRefusal(error.code)) throw error;
      onEvent({ event: "pin-failed", ...about, error: toFailure(error) });
    }
  }
}

/** Every pin adds a revision, so what is pinned already is left alone. */
async function currentPins(
  pins: CachePins,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, string | undefined>> {
  try {
    return await pins.list(signal);
  } catch {
    // A service that does not list its pins still takes them; its refusal would tell there.
    signal.throwIfAborted();
    return new Map();
  }
}
