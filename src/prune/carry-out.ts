import type { CacheFile } from "../cache/pruner.ts";
import { forEachConcurrent } from "../cache/for-each-concurrent.ts";
import { reach } from "../plan/chain.ts";
import { decide, type Decision, type DecideOptions, type Entries, Links } from "./decide.ts";
import type { Entry } from "./entry.ts";
import { type Cutoffs, lastSegment, leftovers, narsNamedBy } from "./leftovers.ts";
import { previewOf } from "./preview.ts";
import { freshNames, type Inventory, survey, type SurveyOptions } from "./survey.ts";

export interface CarryOutOptions extends Omit<SurveyOptions, "onProgress"> {
  readonly needs: DecideOptions["needs"];
  readonly cutoffs: Cutoffs;
  /** How long files are removed, at least, until the cache is looked at again. @default {10_000} */
  readonly betweenLooksMs?: number;
  /** Told of each file that is gone. */
  readonly onRemoved?: ((file: CacheFile) => void) | undefined;
}

/** How long files are removed until the cache is looked at again. */
const BETWEEN_LOOKS_MS = 10_000;
/** The same, as a multiple of what a look takes: one of a large bucket takes long. */
const LOOKS_RATIO = 4;

/** What became of it. */
export interface Pruned {
  readonly entries: readonly Entry[];
  readonly files: readonly CacheFile[];
  /** Entries that stayed since they were written again, or since something that needs them came meanwhile. */
  readonly spared: readonly Entry[];
  /** Entries that came at the moment when a NAR went that they need: they have to be pushed again. */
  readonly broken: readonly Entry[];
}

interface RemovedEntry {
  readonly entry: Entry;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly step: number;
}

/**
 * Removes what was decided to go from a cache that others may write to meanwhile:
 *
 *     look again -> entries, referrers first -> look again -> some files -> look again -> some files -> ...
 *                                               `-> put back what a new entry needs
 *
 * Nothing goes that was not decided to. Aborted anywhere, it leaves a cache without a new hole.
 *
 * @param shown What was there when it was decided.
 */
export async function carryOut(
  decision: Decision,
  shown: Inventory,
  options: CarryOutOptions,
): Promise<Pruned> {
  const { needs, cutoffs } = options;
  const again = await survey(options, shown);
  const fresh = freshNames(shown.entries, again.entries);
  const mayGo = new Set(decision.steps.flat().map(({ file }) => nameOf(file)));
  const { steps } = decide(again.entries, { needs, cutoffMs: cutoffs.ownMs, fresh });
  const goes = steps.map((step) => step.filter(({ file }) => mayGo.has(file.name)));
  const removal = new Removal(again, options);
  await removal.removeSteps(goes);
  await removal.removeLeftovers(new Set(previewOf(decision, shown, cutoffs).files.map(nameOf)));
  const { entries, files, broken } = removal;
  const gone = new Set(entries.map(({ file }) => file.name));
  const spared = decision.steps.flat().filter(({ file }) => !gone.has(file.name));
  return { entries, files, spared, broken };
}

class Removal {
  readonly #options: CarryOutOptions;
  readonly #before: Inventory;
  readonly #links: Links;
  readonly #removed = new Map<string, RemovedEntry>();
  readonly #files = new Map<string, CacheFile>();
  /** Names of entries that stay since something that needs them turned out to stay. */
  readonly #spared = new Set<string>();
  #now: Inventory;
  #broken: readonly Entry[] = [];

  constructor(before: Inventory, options: CarryOutOptions) {
    this.#before = before;
    this.#now = before;
    this.#links = new Links(before.entries);
    this.#options = options;
  }

  get entries(): readonly Entry[] {
    return [...this.#removed.values()].map(({ entry }) => entry);
  }

  get files(): readonly CacheFile[] {
    return [...this.#files.values()];
  }

  get broken(): readonly Entry[] {
    return this.#broken;
  }

  /** Each step waits for the one before: those that refer to an entry are gone before it is. */
  async removeSteps(steps: readonly (readonly Entry[])[]): Promise<void> {
    const { pruner, signal } = this.#options;
    for (const [step, entries] of steps.entries()) {
      await forEachConcurrent(entries, { limit: pruner.atOnce, signal }, (entry, signal) =>
        this.#removeEntry(entry, step, signal),
      );
      await pruner.settle(signal);
    }
  }

  /** Removes those files that nothing names, and looks before and after some of them at what came meanwhile. */
  async removeLeftovers(mayGo: ReadonlySet<string>): Promise<void> {
    const { pruner, signal, cutoffs, betweenLooksMs = BETWEEN_LOOKS_MS } = this.#options;
    const tried = new Set<string>();
    for (;;) {
      const startMs = performance.now();
      await this.#lookAgain();
      const nowMs = performance.now();
      const { files, entries } = this.#now;
      const left = leftovers(files, { entries, gone: this.entries }, cutoffs).filter(
        ({ name }) => mayGo.has(name) && !tried.has(name),
      );
      if (left.length === 0) return;
      const owners = ownersOf(this.entries);
      const patienceMs = Math.max(betweenLooksMs, LOOKS_RATIO * (nowMs - startMs));
      const some = until(nowMs + patienceMs, left);
      await forEachConcurrent(some, { limit: pruner.atOnce, signal }, async (file, signal) => {
        tried.add(file.name);
        await this.#removeFile(file, owners.get(file.name) ?? [], signal);
      });
    }
  }

  /** Looks for entries that came meanwhile, and puts back what they need, until all is there that can be. */
  async #lookAgain(): Promise<void> {
    for (;;) {
      this.#now = await survey(this.#options, this.#now);
      const { entries, files } = this.#now;
      // Somebody published them again.
      for (const name of entries.keys()) this.#removed.delete(name);
      const present = new Set(files.map(({ name }) => name));
      const known: Entries = new Map([
        ...this.entries.map((entry) => [entry.file.name, entry] as const),
        ...entries,
      ]);
      const links = new Links(known);
      const next = (name: string): string[] => links.from(name);
      const fresh = freshNames(this.#before.entries, entries);
      const needed = reach(fresh, next);
      // Without its NAR, which another prune may have removed, it would be a hole itself.
      const missing = [...this.#removed].filter(
        ([name, { entry }]) => needed.has(name) && hasNar(entry, present),
      );
      if (missing.length > 0) {
        await this.#putBack(missing.map(([, removed]) => removed));
        continue;
      }
      const lost = [...this.#files.keys()].filter((name) => !present.has(name));
      const lostNars = new Set(lost.map(lastSegment));
      const lacks = (name: string): boolean =>
        this.#removed.has(name) ||
        (entries.get(name)?.urls ?? []).flatMap(narsNamedBy).some((nar) => lostNars.has(nar));
      this.#broken = [...fresh].flatMap((name) =>
        [...reach([name], next).keys()].some(lacks) ? (entries.get(name) ?? []) : [],
      );
      return;
    }
  }

  async #removeFile(
    file: CacheFile,
    owners: readonly string[],
    signal: AbortSignal,
  ): Promise<void> {
    const { pruner, onRemoved } = this.#options;
    for (const name of owners) {
      // Somebody may have pushed it again, and found its NAR there.
      if ((await pruner.read(name, signal)) !== undefined) return;
    }
    if (!(await pruner.remove(file, signal))) return;
    this.#files.set(file.name, file);
    onRemoved?.(file);
  }

  async #removeEntry(entry: Entry, step: number, signal: AbortSignal): Promise<void> {
    const { pruner, onRemoved } = this.#options;
    const { name } = entry.file;
    if (this.#spared.has(name)) return;
    const bytes = await pruner.read(name, signal);
    if (bytes === undefined) return;
    if (await pruner.remove(entry.file, signal)) {
      this.#removed.set(name, { entry, bytes: new Uint8Array(bytes), step });
      onRemoved?.(entry.file);
      return;
    }
    for (const needed of reach([name], (one) => this.#links.from(one)).keys()) {
      this.#spared.add(needed);
    }
  }

  /** References first, as a push does. */
  async #putBack(removed: readonly RemovedEntry[]): Promise<void> {
    const { pruner, signal } = this.#options;
    for (const { entry, bytes } of removed.toSorted((a, b) => b.step - a.step)) {
      await pruner.putBack(entry.file.name, bytes, signal);
      this.#removed.delete(entry.file.name);
    }
  }
}

function nameOf({ name }: CacheFile): string {
  return name;
}

/** Names of entries by the NARs that they name. */
function ownersOf(entries: readonly Entry[]): ReadonlyMap<string, readonly string[]> {
  const owners = new Map<string, string[]>();
  for (const { file, urls } of entries) {
    for (const url of urls) owners.set(url, [...(owners.get(url) ?? []), file.name]);
  }
  return owners;
}

function hasNar({ urls }: Entry, present: ReadonlySet<string>): boolean {
  return urls.every((url) => !url.startsWith("nar/") || present.has(url));
}

/** The first of some items, and the others as long as it is not later. */
function* until<T>(endMs: number, items: Iterable<T>): Generator<T> {
  for (const item of items) {
    yield item;
    if (performance.now() > endMs) return;
  }
}
