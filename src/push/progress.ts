import type { PathInfo } from "../nix/path-info.ts";
import type { StorePath } from "../nix/store-path.ts";
import { Settlement } from "./settlement.ts";

/**
 * How far a path gets: *stored* when its NAR is and those of its references are, *visible* when it is
 * published and its references are visible.
 */
export type Stage = "stored" | "visible";

/** The stages of all paths of a push, each known as soon as it is certain. */
export class Progress implements Disposable {
  readonly #paths = new Map<StorePath, Readonly<Record<Stage, Settlement>>>();
  readonly #signal: AbortSignal;
  readonly #wakeAll = (): void => {
    for (const stages of this.#paths.values()) {
      stages.stored.wake();
      stages.visible.wake();
    }
  };

  constructor(paths: Iterable<StorePath>, signal: AbortSignal) {
    for (const path of paths) {
      this.#paths.set(path, { stored: new Settlement(), visible: new Settlement() });
    }
    this.#signal = signal;
    signal.addEventListener("abort", this.#wakeAll, { once: true });
  }

  /** Says that a path got to a stage, or will not. The first word counts. */
  settle(path: StorePath, stage: Stage, isReached: boolean): void {
    this.#paths.get(path)?.[stage].settle(isReached);
  }

  /**
   * Waits for the references of a path; returns the first that will not get to the stage, if any.
   *
   * @param options.toEnd True to wait for them after an interruption as well.
   * @throws The reason `signal` was aborted with.
   */
  async firstWithout(
    stage: Stage,
    { path, references }: PathInfo,
    { toEnd = false }: { readonly toEnd?: boolean } = {},
  ): Promise<StorePath | undefined> {
    for (const reference of references) {
      const reached = this.#paths.get(reference)?.[stage];
      if (reference === path || reached === undefined) continue;
      while (reached.value === undefined) {
        if (!toEnd) this.#signal.throwIfAborted();
        await reached.next();
      }
      if (!reached.value) return reference;
    }
    return undefined;
  }

  [Symbol.dispose](): void {
    this.#signal.removeEventListener("abort", this.#wakeAll);
  }
}
