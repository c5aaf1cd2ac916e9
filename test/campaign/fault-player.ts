import { setTimeout as delay } from "node:timers/promises";

import { CLOCK_STEPS } from "./fault-step.ts";
import type { Effect, FaultStep, ServerName } from "./fault-step.ts";

/** A request that a server was sent, or a call to a disk, with what became of it. */
export interface LoggedRequest {
  readonly operation: string;
  /** Path and query; for a disk the file. */
  readonly target: string;
  /** The upload that it is about, or the empty text. */
  readonly upload: string;
  readonly headers: string;
  /** Undefined where the connection was cut before the body was read, and for a disk. */
  readonly body: Buffer | undefined;
  /** The fault that it met, if any. */
  readonly fault: FaultStep | undefined;
  /** The status of the answer if the client was sent all of it. */
  readonly status: () => number | undefined;
  /** Place in the order in which requests came. */
  readonly at: number;
}

/** Strikes the program rather than a request. */
export interface Striking {
  signal(signal: NodeJS.Signals): void;
  stepClock(ms: number): void;
  revokeToken(): void;
  /** Takes the cache away; settles when it is back, soon. */
  goAway(): Promise<void>;
}

/** Absence of a cache that is gone: some tries of the program, whose waits are short. */
export const GONE_MS = 250;

/** Decides which request of one cache meets which fault of a run, and strikes. */
export class FaultPlayer {
  readonly log: LoggedRequest[] = [];
  readonly #name: ServerName;
  /** Settles when a cache that is gone is back. */
  #gone: Promise<void> | undefined;
  #faults: readonly FaultStep[] = [];
  #striking: Striking | undefined;
  #counts = new Map<string, number>();

  constructor(name: ServerName) {
    this.#name = name;
  }

  /** Begins a run: its faults are counted from here on. */
  begin(faults: readonly FaultStep[], striking: Striking): void {
    this.#faults = faults.filter(({ cache }) => cache === this.#name);
    this.#counts = new Map();
    this.#striking = striking;
  }

  /** Ends all faults, once a cache that is gone is back. */
  async end(): Promise<void> {
    this.#faults = [];
    await this.#gone;
  }

  /** Counts a request, and returns the first fault of the schedule that it meets. */
  meet(operation: string): FaultStep | undefined {
    const counts = { own: this.#count(operation), any: this.#count("any") };
    return this.#faults.find(({ operation: hit, nth, times }) => {
      if (hit !== "any" && hit !== operation) return false;
      const count = hit === "any" ? counts.any : counts.own;
      return count >= nth && (times === 0 || count < nth + times);
    });
  }

  note(request: Omit<LoggedRequest, "at">): void {
    this.log.push({ ...request, at: this.log.length });
  }

  /** Strikes the program, its clock, the token or the place of the cache. */
  async strike(stroke: Effect): Promise<void> {
    const striking = this.#striking;
    const [signal] = /^SIG\w+/.exec(stroke) ?? [];
    if (signal !== undefined) {
      striking?.signal(signal as NodeJS.Signals);
      if (!stroke.endsWith("twice")) return;
      await delay(20);
      striking?.signal(signal as NodeJS.Signals);
    } else if (CLOCK_STEPS.has(stroke)) striking?.stepClock(CLOCK_STEPS.get(stroke) ?? 0);
    else if (stroke === "token revoked") striking?.revokeToken();
    else if (stroke === "cache gone") {
      this.#gone ??= striking?.goAway().finally(() => (this.#gone = undefined));
    } else throw new RangeError(`Cannot strike with ${JSON.stringify(stroke)}`);
  }

  #count(operation: string): number {
    const count = (this.#counts.get(operation) ?? 0) + 1;
    this.#counts.set(operation, count);
    return count;
  }
}
