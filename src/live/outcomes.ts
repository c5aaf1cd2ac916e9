import type { StorePath } from "../nix/store-path.ts";
import type { Plan } from "../plan/plan.ts";
import type { RunEvent } from "../sync/push-plan.ts";
import type { Summary } from "../sync/summary.ts";

type Outcome = "pushed" | "present" | "upstream" | "held" | "excluded" | "failed";

/** What became of each path in each cache in the end, however often it was planned. */
export class Outcomes {
  readonly #startMs = performance.now();
  readonly #outcomes = new Map<string, Outcome>();
  readonly #failedPins = new Set<string>();
  #uploadedBytes = 0;

  /** What is begun has failed unless something else is heard of it. */
  begin(cache: string, paths: Iterable<StorePath>): void {
    for (const path of paths) this.#set(cache, path, "failed");
  }

  /** What is held or excluded is an event as well. */
  plan({ paths }: Plan): void {
    for (const { cache, path, action } of paths) {
      this.#set(cache, path, action === "push" ? "failed" : action);
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

  summary(): Summary {
    const counts = { pushed: 0, present: 0, upstream: 0, held: 0, excluded: 0, failed: 0 };
    for (const outcome of this.#outcomes.values()) counts[outcome] += 1;
    counts.failed += this.#failedPins.size;
    const durationMs = Math.round(performance.now() - this.#startMs);
    return { event: "summary", ...counts, uploadedBytes: this.#uploadedBytes, durationMs };
  }

  /** What we pushed ourselves is found there by later plans, and remains pushed. */
  #set(cache: string, path: StorePath, outcome: Outcome): void {
    const key = `${cache} ${path}`;
    if (this.#outcomes.get(key) !== "pushed") this.#outcomes.set(key, outcome);
  }
}
