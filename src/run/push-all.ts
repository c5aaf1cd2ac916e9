import { toFailure } from "../error.ts";
import { joinPlans } from "../plan/join-plans.ts";
import type { Plan } from "../plan/plan.ts";
import { SharedPacker, type SharedPackerOptions } from "../push/shared-packer.ts";
import { assertSome } from "./assert-some.ts";
import {
  type CacheRunOptions,
  decide,
  type Decided,
  type DecideOptions,
  isHoleFailing,
  type Order,
  runCache,
} from "./cache-run.ts";
import type { RunEvent, Summary } from "./events.ts";
import type { Gathered } from "./gather.ts";
import { openConfigured } from "./open-caches.ts";
import { orAborted } from "../or-aborted.ts";
import { StartLine } from "./start-line.ts";
import { Tally } from "./tally.ts";

export interface PushAllOptions extends Omit<CacheRunOptions, "onDecided" | "packer"> {
  readonly packing?: SharedPackerOptions;
}

/** The end of a push to several caches. */
export interface PushEnd {
  /** Counts over all caches. */
  readonly summary: Summary;
  /** Why caches got nothing, or nothing more. Each was told in an `error` event. */
  readonly failures: readonly unknown[];
  /** Paths, pins and inputs that failed or are held by themselves, not for one of the `failures`. */
  readonly troubled: number;
}

/**
 * Pushes to all caches at once. What goes wrong with a path or a cache stops no other one.
 *
 * @throws {AggregateError} If every cache fails before anything is decided.
 * @throws The reason `signal` was aborted with, after the summary if something was decided.
 */
export async function pushAll(gathered: Gathered, options: PushAllOptions): Promise<PushEnd> {
  return await new PushAll(gathered, options).run();
}

class PushAll {
  readonly #gathered: Gathered;
  readonly #options: PushAllOptions;
  readonly #tally = new Tally();
  /** Absent where no cache waits for another. */
  readonly #line: StartLine | undefined;
  readonly #failures: unknown[] = [];
  #isDecided = false;

  constructor(gathered: Gathered, options: PushAllOptions) {
    this.#gathered = gathered;
    this.#options = options;
    const isStrict = options.config.rules.onHole === "fail";
    this.#line = isStrict ? new StartLine(gathered.caches.length) : undefined;
  }

  async run(): Promise<PushEnd> {
    const { signal } = this.#options;
    await using packer = new SharedPacker(this.#options.packing);
    for (const { input, error } of this.#gathered.rejected) {
      this.#tell({ event: "rejected", input, error: toFailure(error) });
    }
    await Promise.all(this.#gathered.caches.map((cache) => this.#push(cache, packer)));
    if (!this.#isDecided) assertSome(this.#failures, { all: this.#failures.length, signal });
    const { troubled } = this.#tally;
    if (signal.aborted) this.#tell({ event: "error", error: toFailure(signal.reason) });
    const summary = this.#tally.summary({ isInterrupted: signal.aborted });
    this.#tell(summary);
    signal.throwIfAborted();
    return { summary, failures: this.#failures, troubled };
  }

  async #push(cache: Gathered["caches"][number], packer: SharedPacker): Promise<void> {
    let hasArrived = false;
    const onDecided = (decided: Decided): Promise<Order> => {
      hasArrived = true;
      return this.#start(decided);
    };
    const onEvent = (event: RunEvent): void => this.#tell(event);
    try {
      await runCache(cache, this.#gathered, { ...this.#options, packer, onDecided, onEvent });
    } catch (error) {
      if (error === this.#options.signal.reason) return;
      this.#failures.push(error);
      // Nobody reads events of a run that never began: its error is what ends the command.
      if (this.#isDecided) this.#tell({ event: "error", error: toFailure(error) });
    } finally {
      if (!hasArrived) this.#line?.leave();
    }
  }

  async #start({ plan }: Decided): Promise<Order> {
    const { config, signal } = this.#options;
    const arrival = { isCalledOff: isHoleFailing(plan, config) };
    const isCalledOff = (await this.#line?.arrive(arrival, signal)) ?? false;
    this.#begin();
    this.#tally.plan({ plan, isCalledOff });
    return { plan, isCalledOff };
  }

  /** Tells which caches failed before the first one was decided about. */
  #begin(): void {
    if (this.#isDecided) return;
    this.#isDecided = true;
    for (const error of this.#failures) this.#tell({ event: "error", error: toFailure(error) });
  }

  #tell(event: RunEvent): void {
    this.#tally.count(event);
    this.#options.onEvent(event);
  }
}

export type PlanAllOptions = DecideOptions & Pick<CacheRunOptions, "onWarning">;

/** The decisions for several caches. */
export interface PlanEnd {
  readonly plan: Plan;
  /** Why caches are left out. */
  readonly failures: readonly unknown[];
}

/**
 * Decides for each cache what would be pushed to it, and sends nothing.
 *
 * @throws {AggregateError} If every cache fails.
 * @throws The reason `signal` was aborted with.
 */
export async function planAll(gathered: Gathered, options: PlanAllOptions): Promise<PlanEnd> {
  const plans: Plan[] = [];
  const failures: unknown[] = [];
  const plan = async (cache: Gathered["caches"][number]): Promise<void> => {
    try {
      const opened = await orAborted(openConfigured(cache, options), options.signal);
      await using _cache = opened.cache;
      const decided = await decide(opened, gathered, options);
      for (const text of decided.warnings) options.onWarning(text);
      plans.push(decided.plan);
    } catch (error) {
      failures.push(error);
    }
  };
  await Promise.all(gathered.caches.map(plan));
  options.signal.throwIfAborted();
  if (plans.length === 0) assertSome(failures, { all: failures.length, signal: options.signal });
  return { plan: joinPlans(plans), failures };
}
