import { HandpickError } from "../../error.ts";
import type { HashPart } from "../../nix/store-path.ts";
import { narInfoName } from "../binary-cache.ts";
import { forEachConcurrent } from "../for-each-concurrent.ts";
import type { ListedPage, ObjectRequest, ObjectStore } from "./object-store.ts";

/** Fewer are asked for one by one: a list of each first letter is 32 requests at least. */
const LEAST_ASKED = 1000;
const LISTS_AT_ONCE = 8;
/**
 * A page that settles fewer than this is not worth it. AWS takes for a page what twelve reads cost, and
 * it takes about as long as three.
 */
const LEAST_PER_PAGE = 12;

/** The answers of lists. */
export interface ListedNarInfos {
  readonly present: ReadonlySet<HashPart>;
  readonly absent: ReadonlySet<HashPart>;
  /** Paths that no list was asked for, or not to its end. */
  readonly unknown: ReadonlySet<HashPart>;
}

/**
 * Looks for the narinfos of thousands of paths by listing, where that costs less than asking for each. Lists
 * by the first letter of their names, since pages of one list come one after another; a list whose pages hold too
 * few of the names asked for, as in a bucket with far more, is given up.
 */
export async function listNarInfos(
  asked: ReadonlySet<HashPart>,
  objects: ObjectStore,
  request: ObjectRequest,
): Promise<ListedNarInfos> {
  const present = new Set<HashPart>();
  const absent = new Set<HashPart>();
  let mayList = objects.list !== undefined && asked.size >= LEAST_ASKED;
  const letters = mayList ? Map.groupBy([...asked].toSorted(), ([letter = ""]) => letter) : [];
  const limit = { limit: LISTS_AT_ONCE, signal: request.signal };
  await forEachConcurrent(letters, limit, async ([letter, sorted], signal) => {
    if (!mayList) return;
    const list = new LetterList(sorted, { present, absent });
    try {
      for await (const page of objects.list?.(letter, { ...request, signal }) ?? []) {
        if (!list.take(page)) break;
      }
    } catch (error) {
      if (!isRefused(error)) throw error;
      mayList = false;
    }
  });
  return { present, absent, unknown: asked.difference(present).difference(absent) };
}

/** There are stores, and policies, that let us read and not list. */
function isRefused(error: unknown): boolean {
  if (!(error instanceof HandpickError)) return false;
  return error.code === "CACHE_REFUSED" || error.code === "CACHE_PROTOCOL";
}

interface Settled {
  readonly present: Set<HashPart>;
  readonly absent: Set<HashPart>;
}

/** Holds pages of a list, in the order of names, against names asked for in the same order. */
class LetterList {
  readonly #sorted: readonly HashPart[];
  readonly #settled: Settled;
  #position = 0;
  #pages = 0;

  constructor(sorted: readonly HashPart[], settled: Settled) {
    this.#sorted = sorted;
    this.#settled = settled;
  }

  /** Returns true if another page is there and worth its cost. */
  take({ objects, isLast }: ListedPage): boolean {
    // An empty object is what a write that failed may leave.
    const names = new Set(objects.filter(({ size }) => size > 0).map(({ name }) => name));
    const last = objects.at(-1)?.name ?? "";
    this.#pages += 1;
    for (let next = this.#next(); next !== undefined; next = this.#next()) {
      if (!isLast && narInfoName(next) > last) break;
      this.#settle(next, names.has(narInfoName(next)));
    }
    const isWorth = this.#position >= LEAST_PER_PAGE * this.#pages;
    return !isLast && isWorth && this.#next() !== undefined;
  }

  #next(): HashPart | undefined {
    return this.#sorted[this.#position];
  }

  #settle(hashPart: HashPart, isPresent: boolean): void {
    this.#position += 1;
    (isPresent ? this.#settled.present : this.#settled.absent).add(hashPart);
  }
}
