import type { StorePath } from "../nix/store-path.ts";
import type { Plan } from "../plan/plan.ts";
import type { RunEvent } from "../run/push-plan.ts";
import type { Summary } from "../run/summary.ts";

type Outcome = "begun" | "pushed" | "present" | "upstream" | "held" | "excluded" | "failed";

/** What became of each path in each cache in the end, however often it was planned. */
export class Outcomes {
  readonly #startMs = performance.now();
  readonly #outcomes = new Map<string, Outcome>();
  readonly #failedPins = new Set<string>();
  #uploadedBytes = 0;

  /** What is begun has failed, or was interrupted, unless something else is heard of it. */
  begin(cache: string, paths: Iterable<StorePath>): void {
    for (const path of paths) this.#set(cache, path, "begun");
  }

  /** What is held or excluded is an event as well. */
  plan({ paths }: Plan): void {
    for (const { cache, path, action } of paths) {
      this.#set(cache, path, action === "push" ? "begun" : action);
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
      case "rejected":
      case "excluded":
      case "start":
      case "sent":
      case "note":
      case "error":
      case "summary":
        return;
    }
  }

  summary({ isInterrupted = false }: { readonly isInterrupted?: boolean } = {}): Summary {
    const all = [...this.#outcomes.values()];
    const count = (wanted: Outcome): number => all.filter((outcome) => outcome === wanted).length;
    const begun = count("begun");
    return {
      event: "summary",
      pushed: count("pushed"),
      present: count("present"),
      upstream: count("upstream"),
      held: count("held"),
      excluded: count("excluded"),
      failed: count("failed") + this.#failedPins.size + (isInterrupted ? 0 : begun),
      unfinished: isInterrupted ? begun : 0,
      uploadedBytes: this.#uploadedBytes,
      durationMs: Math.round(performance.now() - this.#startMs),
    };
  }

  /** What we pushed ourselves is found there by later plans, and remains pushed. */
  #set(cache: string, path: StorePath, outcome: Outcome): void {
    const key = `${cache} ${path}`;
    if (this.#outcomes.get(key) !== "pushed") this.#outcomes.set(key, outcome);
  }
}
