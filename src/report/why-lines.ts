import { nameOf } from "../nix/store-path.ts";
import type { Explanation, Way } from "../plan/explain.ts";
import { formatSize } from "../plan/format-size.ts";
import { reasonText } from "../plan/reason-text.ts";
import { printable } from "./format.ts";
import type { Paint } from "./painter.ts";
import { chainText } from "./chain-text.ts";
import { ACTION_STYLES, namesOf } from "./plan-lines.ts";

const MOST_WAYS_SHOWN = 3;

/** Why a path goes or stays: a line for each cache, then the picks that need it. */
export function whyLines({ path, decisions, ways }: Explanation, paint: Paint): string[] {
  const [first] = decisions;
  const size = first === undefined ? "" : ` (${formatSize(first.narSize)})`;
  const others = ways.slice(MOST_WAYS_SHOWN);
  return [
    `${path}${size}`,
    ...decisions.map(
      ({ cache, action, reason }) =>
        `  ${printable(cache)}: ${paint(ACTION_STYLES[action], action)}: ${printable(reasonText(reason))}`,
    ),
    ...ways.slice(0, MOST_WAYS_SHOWN).map((way) => paint("dim", `  ${wayText(way)}`)),
    ...(others.length > 0
      ? [paint("dim", `  and for ${namesOf(others.map(({ pick }) => pick))}`)]
      : []),
  ];
}

function wayText({ pick, chain }: Way): string {
  const name =
    pick.selection === undefined ? namesOf([pick]) : `${namesOf([pick])} of ${pick.selection}`;
  if (chain.length > 1) return `for ${printable(name)}: ${chainText(chain.map(nameOf))}`;
  return `for ${printable(name)}, which names it or was built from it`;
}
