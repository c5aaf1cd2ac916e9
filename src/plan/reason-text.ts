import { quote } from "../nix/format-error.ts";
import { formatSize } from "./format-size.ts";
import type { Lack, Reason } from "./plan.ts";

/** Puts the reason of a decision into words, such as `excluded by rule "*-doc"`. */
export function reasonText(reason: Reason): string {
  switch (reason.code) {
    case "missing":
      return "missing from the cache";
    case "missing-hole-allowed":
      return `missing from the cache; ${needText(reason)}`;
    case "in-cache":
      return "already in the cache";
    case "in-upstream":
      return `already in ${reason.upstream ?? "an upstream"}`;
    case "exclude-rule":
      return `excluded by rule ${quote(reason.rule ?? "")}`;
    case "exclude-pick":
      return `excluded by ${quote(reason.rule ?? "")} of pick ${quote(reason.pick?.name ?? "")}`;
    case "max-nar-size": {
      const { narSize = 0, limit = 0 } = reason;
      return `larger than max-nar-size: ${formatSize(narSize)}, the limit is ${formatSize(limit)}`;
    }
    case "upstream-unreachable":
      return reason.because === undefined
        ? "not built here, and an upstream that may have it did not answer"
        : needText(reason);
    case "reference-excluded":
    case "reference-held":
    case "reference-outside":
    case "reference-failed":
      return needText(reason);
  }
}

function needText({ code, because, through }: Reason): string {
  if (because === undefined)
    return 'nothing is pushed while a path is held, since on-hole = "fail"';
  if (because.state === "hides") return `is stored, but hidden until ${because.path} is pushed`;
  const way = through === undefined ? "" : ` (through ${through})`;
  const open =
    code === "upstream-unreachable" && because.state === "outside"
      ? "; an upstream that may have it did not answer"
      : "";
  return `needs ${because.path}${way}, which ${stateText(because)}${open}`;
}

function stateText({ state, reason }: Lack): string {
  switch (state) {
    case "excluded":
      return `is ${reason === undefined ? "excluded" : reasonText(reason)}`;
    case "unanswered":
      return "is held until an upstream that may have it answers";
    case "cycle":
      return "is part of a cycle of references";
    case "outside":
      return "is neither selected nor in the cache";
    case "failed":
      return "could not be pushed";
    case "later":
      return "is tried again later";
    case "hides":
      return "is still to be pushed";
  }
}

/** A reason for programs: as data, with its words. */
export function reasonWithText(reason: Reason): Reason & { readonly text: string } {
  return { ...reason, text: reasonText(reason) };
}
