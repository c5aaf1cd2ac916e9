import type { StorePath } from "../nix/store-path.ts";
import type { Order } from "./cache-run.ts";
import type { RunEvent, Summary } from "./events.ts";

type Outcome = "begun" | "pushed" | "present" | "upstream" | "held" | "excluded" | "failed";

export interface SummaryOptions {
  /** True if paths that are begun are left to another run, rather than failed. @default {false} */
  readonly isInterrupted?: boolean;
}

/** Counts the outcome of each path in each cache, however often it is planned in a run. */
export class Tally {
  readonly #startMs = performance.now();
  readonly #outcomes = new Map<string, Outcome>();
  readonly #failedPins = new Set<string>();
  #rejected = 0;
  #uploadedBytes = 0;

  /** Counts paths as failed, or as interrupted, until something else is heard of them. */
  begin(cache: string, paths: Iterable<StorePath>): void {
    for (const path of paths) this.#set(cache, path, "begun");
  }

  /** @param order Of a plan that is called off nothing is begun. */
  plan({ plan: { paths }, isCalledOff = false }: Pick<Order, "plan" | "isCalledOff">): void {
    for (const { cache, path, action } of paths) {
      if (action !== "push") this.#set(cache, path, action);
      else if (!isCalledOff) this.#set(cache, path, "begun");
    }
  }

  count(event: RunEvent): void {
    switch (event.event) {
      case "pushed":
        this.#uploadedBytes += event.fileSize;
        this.#set(event.cache, event.path, "pushed");
        return;
      case "failed":
      case "held":
        this.#set(event.cache, event.path, event.event);
        return;
      case "pinned":
        this.#failedPins.delete(`${event.cache} ${event.name}`);
        return;
      case "pin-failed":
        this.#failedPins.add(`${event.cache} ${event.name}`);
        return;
      case "rejected":
        this.#rejected += 1;
        return;
      case "plan":
      case "excluded":
      case "start":
      case "sent":
      case "note":
      case "error":
      case "summary":
        return;
    }
  }

  /** Number of paths, pins and inputs that failed or are held by themselves, and not for a cache that failed. */
  get troubled(): number {
    return this.#number("failed") + this.#number("held") + this.#failedPins.size + this.#rejected;
  }

  summary({ isInterrupted = false }: SummaryOptions = {}): Summary {
    const begun = this.#number("begun");
    const failed = this.#number("failed") + this.#failedPins.size + this.#rejected;
    return {
      event: "summary",
      pushed: this.#number("pushed"),
      present: this.#number("present"),
      upstream: this.#number("upstream"),
      held: this.#number("held"),
      excluded: this.#number("excluded"),
      failed: failed + (isInterrupted ? 0 : begun),
      unfinished: isInterrupted ? begun : 0,
      uploadedBytes: this.#uploadedBytes,
      durationMs: Math.round(performance.now() - this.#startMs),
    };
  }

  #number(wanted: Outcome): number {
    let number = 0;
    for (const outcome of this.#outcomes.values()) if (outcome === wanted) number += 1;
    return number;
  }

  /** A path that this run pushed is found there by later plans, and remains pushed. */
  #set(cache: string, path: StorePath, outcome: Outcome): void {
    const key = `${cache} ${path}`;
    if (this.#outcomes.get(key) !== "pushed") this.#outcomes.set(key, outcome);
  }
}
