import type { HashPart } from "../nix/store-path.ts";

interface Entry {
  /** The other paths this one refers to. */
  readonly references: ReadonlySet<HashPart>;
  /** How many of them readers cannot get yet; 0 makes the entry visible. */
  hiddenReferences: number;
}

/**
 * Which paths readers may see: those whose whole closure can be had, here or at an upstream.
 *
 * Every entry counts its references that are not available. An entry that reaches zero becomes
 * available itself, which counts down those that refer to it, so each reference is looked at once
 * however the paths arrive. Cycles other than a path's reference to itself do not occur in a store;
 * paths of a made-up one stay hidden.
 */
export class Visibility {
  readonly #entries = new Map<HashPart, Entry>();
  readonly #elsewhere = new Set<HashPart>();
  readonly #referrers = new Map<HashPart, HashPart[]>();

  /** Records a path that is complete here. A path already recorded keeps its references. */
  add(path: HashPart, references: Iterable<HashPart>): void {
    if (this.#entries.has(path)) return;
    const others = new Set(references);
    others.delete(path);
    const hidden = [...others].filter((reference) => !this.isAvailable(reference));
    const wasAvailable = this.isAvailable(path);
    this.#entries.set(path, { references: others, hiddenReferences: hidden.length });
    for (const reference of hidden) this.#addReferrer(reference, path);
    if (hidden.length === 0 && !wasAvailable) this.#reveal(path);
  }

  /** Records a path that an upstream serves together with its closure. */
  addElsewhere(path: HashPart): void {
    const wasAvailable = this.isAvailable(path);
    this.#elsewhere.add(path);
    if (!wasAvailable) this.#reveal(path);
  }

  /** Returns true if the path is complete here, visible or not. */
  has(path: HashPart): boolean {
    return this.#entries.has(path);
  }

  /** Returns true if an upstream is known to serve the path. */
  isElsewhere(path: HashPart): boolean {
    return this.#elsewhere.has(path);
  }

  /** Returns true if the path is here and readers may see it. */
  isVisible(path: HashPart): boolean {
    return this.#entries.get(path)?.hiddenReferences === 0;
  }

  /** Returns true if readers can get the path with its closure, here or elsewhere. */
  isAvailable(path: HashPart): boolean {
    return this.#elsewhere.has(path) || this.isVisible(path);
  }

  /** The paths of `path`'s closure that are neither here nor known to be elsewhere. */
  holes(path: HashPart): Set<HashPart> {
    const holes = new Set<HashPart>();
    const seen = new Set<HashPart>([path]);
    const queue: HashPart[] = [path];
    for (let current = queue.pop(); current !== undefined; current = queue.pop()) {
      const entry = this.#entries.get(current);
      if (entry === undefined) holes.add(current);
      for (const reference of entry?.references ?? []) {
        if (seen.has(reference) || this.isAvailable(reference)) continue;
        seen.add(reference);
        queue.push(reference);
      }
    }
    return holes;
  }

  #addReferrer(reference: HashPart, referrer: HashPart): void {
    const referrers = this.#referrers.get(reference);
    if (referrers === undefined) this.#referrers.set(reference, [referrer]);
    else referrers.push(referrer);
  }

  #reveal(path: HashPart): void {
    const revealed: HashPart[] = [path];
    for (let current = revealed.pop(); current !== undefined; current = revealed.pop()) {
      const referrers = this.#referrers.get(current) ?? [];
      this.#referrers.delete(current);
      for (const referrer of referrers) {
        if (this.#countDown(referrer)) revealed.push(referrer);
      }
    }
  }

  /** Tells whether this was the last reference the path waited for. */
  #countDown(path: HashPart): boolean {
    const entry = this.#entries.get(path);
    if (entry === undefined) return false;
    entry.hiddenReferences -= 1;
    // One that an upstream serves was available before and has counted down its referrers.
    return entry.hiddenReferences === 0 && !this.#elsewhere.has(path);
  }
}
