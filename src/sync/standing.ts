import { isLasting, isRefusal } from "../error.ts";
import type { CacheEntry, Entry } from "../state/ledger-entry.ts";
import type { Ledger } from "../state/ledger.ts";
import { dueTimes, isUnsettled } from "./due.ts";

/** The wanted paths that a cache lacks. */
export interface Unpushed {
  readonly cache: string;
  readonly paths: number;
  /** Why, as far as that is known. */
  readonly codes: readonly string[];
  /** When it is tried again, in milliseconds since 1970; undefined if only a change helps. */
  readonly nextTry: number | undefined;
  /** True if one of the reasons stays, however often it is tried. */
  readonly isLasting: boolean;
}

/**
 * An obstacle that does not heal by itself: the refusal of a cache alone, or something else too. What the user's own rules hold back is no fault.
 */
export type Fault = "refused" | "lasting";

/** How far a ledger says that all is where it is wanted. */
export interface Standing {
  readonly left: readonly Unpushed[];
  readonly isLeft: boolean;
  /** True if some of what is left may go well later. */
  readonly mayHeal: boolean;
  readonly fault: Fault | undefined;
}

/** Stands for all that may be wrong with selections: none is mended by being read again. */
const UNUSABLE = "MANIFEST_INVALID";

/** Reads from a ledger what is left, and why. */
export function standing(ledger: Ledger, now: number): Standing {
  const caches = new Map(ledger.caches().map((cache) => [cache.name, cache]));
  const left = ledger.entries().filter((entry) => isUnsettled(entry) || entry.state === "held");
  const times = dueTimes(ledger, now);
  const troubles = [...caches.values()].flatMap(({ trouble }) => trouble ?? []);
  const mayHeal = left.some((entry) => {
    const trouble = caches.get(entry.cache)?.trouble ?? entry.trouble;
    return entry.state !== "held" && !isLasting(trouble?.code ?? "");
  });
  const isUnusable = (ledger.fact("unusable") ?? "{}") !== "{}";
  const codes = [
    ...troubles.map(({ code }) => code),
    ...left.flatMap((entry) => (isUnsettled(entry) ? codesOf([entry], undefined) : [])),
    ...(isUnusable ? [UNUSABLE] : []),
  ];
  return {
    left: [...Map.groupBy(left, ({ cache }) => cache)].map(([cache, entries]) => {
      const why = codesOf(entries, caches.get(cache));
      return {
        cache,
        paths: entries.length,
        codes: why,
        nextTry: entries.some(isUnsettled) ? times.get(cache) : undefined,
        isLasting: why.some(isLasting),
      };
    }),
    isLeft: left.length > 0 || codes.length > 0,
    mayHeal: mayHeal || troubles.some(({ code }) => !isLasting(code)),
    fault: faultOf(codes),
  };
}

function faultOf(codes: readonly string[]): Fault | undefined {
  if (!codes.some((code) => isLasting(code) || code === UNUSABLE)) return undefined;
  return codes.every(isRefusal) ? "refused" : "lasting";
}

function codesOf(entries: readonly Entry[], cache: CacheEntry | undefined): string[] {
  if (cache?.trouble !== undefined) return [cache.trouble.code];
  return [...new Set(entries.flatMap(({ trouble }) => trouble?.code ?? []))];
}
