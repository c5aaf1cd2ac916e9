import { nameOf } from "../nix/store-path.ts";
import { faultText, type Hole, mainFault } from "../verify/fault.ts";
import type { Verdict } from "../verify/verify-cache.ts";
import type { Unserved } from "../verify/unserved.ts";
import { chainText } from "./chain-text.ts";
import { printable } from "./format.ts";
import type { Paint } from "./painter.ts";
import { namesOf } from "./plan-lines.ts";

/** The answer for one cache: a heading, then a line or two for each pick that is not served. */
export function verdictLines(verdict: Verdict, paint: Paint): string[] {
  const { unserved, served, proved, realised } = verdict;
  const counts = [
    `${served.own} ${served.own === 1 ? "path" : "paths"} from the cache`,
    ...(served.upstream > 0 ? [`${served.upstream} from upstreams`] : []),
    ...(proved > 0 ? [`${proved} ${proved === 1 ? "NAR" : "NARs"} read and right`] : []),
    ...(realised !== undefined && realised.failure === undefined ? ["fetched by Nix"] : []),
  ];
  return [
    `${printable(verdict.cache)}: ${wordOf(verdict, paint)}: ${counts.join(", ")}`,
    ...unserved.flatMap((one) => unservedLines(one, paint)),
    ...(realised?.failure === undefined
      ? []
      : [`  ${paint("red", "not fetched")} by Nix: ${printable(realised.failure)}`]),
  ];
}

function wordOf({ unserved, picks, realised }: Verdict, paint: Paint): string {
  const good = picks.length - unserved.length;
  if (unserved.length > 0) return paint("red", `${good} of ${picks.length} served`);
  if (realised?.failure !== undefined) return paint("red", "looks served, but Nix does not get it");
  return paint("green", "served");
}

function unservedLines({ pick, hole, chain, others }: Unserved, paint: Paint): string[] {
  const more = others === 0 ? "" : ` (and ${others} more ${others === 1 ? "path" : "paths"})`;
  const lines = [
    `  ${paint("red", "not served")}  ${namesOf([pick])}: ${printable(holeText(hole))}${more}`,
  ];
  if (chain.length > 1) lines.push(paint("dim", `              ${chainText(chain.map(nameOf))}`));
  return lines;
}

/** Says which path is lacking and why. */
export function holeText({ path, faults }: Hole): string {
  const fault = mainFault(faults);
  return fault === undefined ? nameOf(path) : `${nameOf(path)} ${faultText(fault)}`;
}

const PASSWORD_NOTE =
  "the server answers 401 to readers without a password; if readers have one, set public = false in the table of the cache";

/** Sentences after the verdicts: what the user should know or do. */
export function verifyNotes(verdicts: readonly Verdict[]): string[] {
  const notes = new Set<string>();
  for (const verdict of verdicts) {
    const { areKeysKnown, keylessUpstreams, cache, silent, unserved, wantsPassword } = verdict;
    if (wantsPassword) notes.add(`${cache}: ${PASSWORD_NOTE}`);
    if (!areKeysKnown) {
      notes.add(
        `${cache}: any signature counted, since nobody says which keys readers trust; set public-keys or give --public-key`,
      );
    }
    for (const url of keylessUpstreams) {
      notes.add(`${cache}: of ${url} any signature counted, since nobody says its keys`);
    }
    for (const { message } of silent) notes.add(message);
    const isMissing = unserved.some(({ hole }) => mainFault(hole.faults)?.code === "missing");
    if (isMissing) {
      notes.add(
        "Nix remembers for an hour that a cache lacked a path (narinfo-cache-negative-ttl): a machine that asked before a repair builds it until then",
      );
    }
  }
  return [...notes];
}
