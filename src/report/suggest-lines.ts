import { baseNameOf } from "../nix/store-path.ts";
import { packageNameOf } from "../nix/package-name.ts";
import { formatSize } from "../plan/format-size.ts";
import type { Differing } from "../suggest/differing.ts";
import type { Suggestion, Wanter } from "../suggest/rank.ts";
import { formatDuration, printable } from "./format.ts";
import { namesOf } from "./plan-lines.ts";

const MOST_WANTERS_SHOWN = 2;
const DAY_MS = 24 * 3600_000;

/** A line for each package: time that it saves, size of a push, name, age, and what needs it. */
export function suggestionLines(suggestions: readonly Suggestion[], now: number): string[] {
  return suggestions.map(({ name, savedMs, pushBytes, builtAt, wantedBy }) => {
    const time = timeText(savedMs).padStart(12);
    const size = formatSize(pushBytes).padStart(10);
    return `${time} ${size}  ${name.padEnd(32)} built ${ageText(now - builtAt)}${wantersText(wantedBy)}`;
  });
}

function timeText(savedMs: number | undefined): string {
  return savedMs === undefined ? "–" : formatDuration(savedMs);
}

function ageText(ageMs: number): string {
  const days = Math.floor(Math.max(ageMs, 0) / DAY_MS);
  if (days === 0) return "today";
  return days === 1 ? "yesterday" : `${days} days ago`;
}

function wantersText(wanters: readonly Wanter[]): string {
  if (wanters.length === 0) return "";
  const shown = wanters.slice(0, MOST_WANTERS_SHOWN).map(wanterText);
  const others = wanters.length - shown.length;
  return `, for ${[...shown, ...(others > 0 ? [`${others} more`] : [])].join(", ")}`;
}

function wanterText({ name, generation }: Wanter): string {
  return printable(name) + (generation === undefined ? "" : ` (generation ${generation})`);
}

/** Sentences about picks of which another build is installed. */
export function differingLines(differing: readonly Differing[]): string[] {
  return differing.map(
    ({ pick, path, installed }) =>
      `warning: pick ${namesOf([pick])}${pick.selection === undefined ? "" : ` of ${printable(pick.selection)}`} ` +
      `is ${baseNameOf(path)}, and ${baseNameOf(installed)} is installed: readers get another build`,
  );
}

/** Words that Nix would not take for the name of an attribute. */
const KEYWORDS: ReadonlySet<string> = new Set(
  "assert else if in inherit let or rec then with".split(" "),
);

/** A list for Nix code, as `packages` of a selection takes it. */
export function nixList(suggestions: readonly Suggestion[]): string {
  const byAttribute = Map.groupBy(suggestions, ({ name }) => attributeOf(name));
  const items = [...byAttribute].map(([attribute, [first]]) =>
    first === undefined ? "" : `  pkgs.${attribute} # ${commentOf(first)}\n`,
  );
  return `[\n${items.join("")}]\n`;
}

/** The name of a package, which is that of its attribute as a rule. */
function attributeOf(name: string): string {
  const bare = packageNameOf(name);
  // Names of store paths have nothing in them that would need more.
  return /^[A-Za-z_][A-Za-z0-9_-]*$/.test(bare) && !KEYWORDS.has(bare) ? bare : `"${bare}"`;
}

function commentOf({ name, savedMs, pushBytes }: Suggestion): string {
  return `${name}, ${formatSize(pushBytes)}, ${timeText(savedMs)}`;
}
