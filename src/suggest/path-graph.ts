import type { StorePath } from "../nix/store-path.ts";

/** Paths by number, for thousands of walks over the same ones: a walk with sets of paths takes ten times as long. */
export class PathGraph {
  readonly #numbers: ReadonlyMap<StorePath, number>;
  readonly #next: readonly (readonly number[])[];
  /** The last walk that came by each path. */
  readonly #marks: Uint32Array;
  #walks = 0;

  /** @param nextOf The paths after a path; those that are not among `paths` are left out. */
  constructor(paths: readonly StorePath[], nextOf: (path: StorePath) => readonly StorePath[]) {
    this.#numbers = new Map(paths.map((path, number) => [path, number]));
    this.#next = paths.map((path) => this.#numbersOf(nextOf(path)));
    this.#marks = new Uint32Array(paths.length);
  }

  /** Returns the numbers of all that is reachable from some paths, those included. */
  walk(from: readonly StorePath[]): number[] {
    const walk = ++this.#walks;
    const found: number[] = [];
    const add = (numbers: readonly number[]): void => {
      for (const number of numbers) {
        if (this.#marks[number] === walk) continue;
        this.#marks[number] = walk;
        found.push(number);
      }
    };
    add(this.#numbersOf(from));
    // The list grows during the loop.
    for (const number of found) add(this.#next[number] ?? []);
    return found;
  }

  #numbersOf(paths: readonly StorePath[]): number[] {
    return paths.flatMap((path) => this.#numbers.get(path) ?? []);
  }
}
