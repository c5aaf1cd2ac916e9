import type { Line } from "./lines.ts";

const HEAD = ["what", "against", "to reach", "measured", "spread", "handpick", "the other", ""];

/** The table as Markdown, its columns aligned. */
export function printTable(lines: readonly Line[]): string {
  const rows = [HEAD, ...lines.map(cellsOf)];
  const widths = HEAD.map((_, at) => Math.max(3, ...rows.map((row) => row[at]?.length ?? 0)));
  const print = (row: readonly string[], fill: string): string =>
    `| ${widths.map((width, at) => (row[at] ?? "").padEnd(width, fill)).join(" | ")} |`;
  const [head = "", ...body] = rows.map((row) => print(row, " "));
  return [head, print([], "-"), ...body, ""].join("\n");
}

function cellsOf(line: Line): string[] {
  const { what, against, reach, measured, spread, handpick, other } = line;
  const cells = [what, against, reach, measured, spread, handpick, other, verdictOf(line)];
  return cells.map((cell) => cell.replaceAll("|", "\\|"));
}

function verdictOf({ isReached }: Line): string {
  if (isReached === undefined) return "";
  return isReached ? "reached" : "**missed**";
}
