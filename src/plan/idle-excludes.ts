import { quote } from "../nix/format-error.ts";
import { compileGlob } from "../nix/glob.ts";
import type { StorePath } from "../nix/store-path.ts";
import type { PlanPick, PlanRules } from "./needs.ts";

/** Globs that one sentence lists. */
const LISTED = 5;

/**
 * Finds globs that leave nothing out, in words: more likely than not they are misspelt, and what was to
 * be left out is pushed. A glob that several picks have counts once, for selections give all of theirs
 * the same.
 */
export function idleExcludes(
  closed: readonly PlanPick[],
  { exclude }: Pick<PlanRules, "exclude">,
): string[] {
  const all = closed.map(({ members }) => members);
  const ofPicks = new Map<string, ReadonlySet<StorePath>[]>();
  for (const { exclude, members } of closed) {
    for (const glob of exclude) {
      const known = ofPicks.get(glob) ?? [];
      known.push(members);
      ofPicks.set(glob, known);
    }
  }
  const idleOfPicks = [...ofPicks].filter(([glob, members]) => isIdle(glob, members));
  return [
    ...sentence(
      "[rules]",
      [...new Set(exclude)].filter((glob) => isIdle(glob, all)),
    ),
    ...sentence(
      "picks",
      idleOfPicks.map(([glob]) => glob),
    ),
  ];
}

function isIdle(glob: string, members: readonly ReadonlySet<StorePath>[]): boolean {
  const fits = compileGlob(glob);
  return !members.some((paths) => paths.values().some(fits));
}

function sentence(owner: string, globs: readonly string[]): string[] {
  if (globs.length === 0) return [];
  const more = globs.length > LISTED ? ` and ${globs.length - LISTED} more` : "";
  const shown = globs.slice(0, LISTED).map(quote).join(", ");
  return [`exclude of ${owner} has globs that fit nothing here: ${shown}${more}`];
}
