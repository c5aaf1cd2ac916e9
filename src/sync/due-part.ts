import type { Failure } from "../error.ts";
import type { PathInfo } from "../nix/path-info.ts";
import type { StorePath } from "../nix/store-path.ts";
import type { Decision, Plan, Reason } from "../plan/plan.ts";
import { reasonText } from "../plan/reason-text.ts";
import type { Entry } from "../state/ledger-entry.ts";
import type { Outcome } from "../state/ledger.ts";
import { plausibleTime } from "./due.ts";

/** The reason of paths that are held for a while: they are tried again as those that fail are. */
export const PASSING = "upstream-unreachable";

export interface DuePartOptions {
  /** The ledger's entries of the cache. */
  readonly known: ReadonlyMap<StorePath, Entry>;
  readonly infos: ReadonlyMap<StorePath, PathInfo>;
  /** True if paths that failed are tried before their time. */
  readonly isForced: boolean;
  /** True if nothing is pushed while a path is held. */
  readonly isStrict: boolean;
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** A plan without paths whose time to be tried again is not yet. */
export interface DuePart {
  readonly plan: Plan;
  /** The outcomes of paths that are known before anything is sent. */
  readonly outcomes: readonly Outcome[];
}

/** Takes the part of a plan that is due; paths that need one which is not due are held until then. */
export function duePart(
  plan: Plan,
  { known, infos, isForced, isStrict, now }: DuePartOptions,
): DuePart {
  const isBlocked = isStrict && plan.totals.held.paths > 0;
  const later = new Map<StorePath, StorePath>();
  const outcomes: Outcome[] = [];
  for (const { path, action, reason } of plan.paths) {
    const trouble = troubleOf(reason);
    if (action !== "push") {
      if (action === "present") outcomes.push({ path, state: "pushed" });
      else if (reason.code === PASSING) outcomes.push({ path, state: "failing", trouble });
      else outcomes.push({ path, state: action, trouble });
      continue;
    }
    const entry = known.get(path);
    const isEarly =
      !isForced && entry?.state === "failing" && plausibleTime(entry.nextTry ?? 0, now) > now;
    const blocker = infos.get(path)?.references.find((one) => one !== path && later.has(one));
    if (isEarly) later.set(path, path);
    else if (blocker !== undefined) {
      later.set(path, blocker);
      const because = { path: blocker, state: "later" } as const;
      outcomes.push({
        path,
        state: "held",
        trouble: troubleOf({ code: "reference-failed", because }),
      });
    } else if (isBlocked) {
      outcomes.push({ path, state: "held", trouble: troubleOf({ code: "reference-held" }) });
    } else if (entry?.state !== "failing") outcomes.push({ path, state: "waiting" });
  }
  const isNow = ({ path }: Decision): boolean => !later.has(path);
  return { plan: { ...plan, paths: plan.paths.filter(isNow) }, outcomes };
}

/** Returns a reason as the ledger keeps it. */
export function troubleOf(reason: Reason): Failure {
  return { code: reason.code, message: reasonText(reason) };
}
