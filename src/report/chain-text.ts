import { printable } from "./format.ts";

const MOST_LINKS_SHOWN = 6;

/** Names what leads from a pick to a path; the middle of a long way is left out. */
export function chainText(names: readonly string[]): string {
  const half = MOST_LINKS_SHOWN / 2;
  const shown =
    names.length <= MOST_LINKS_SHOWN
      ? names
      : [...names.slice(0, half), `… ${names.length - 2 * half} more …`, ...names.slice(-half)];
  return printable(shown.join(" -> "));
}
