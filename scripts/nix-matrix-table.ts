import type { SuiteResult } from "./nix-suite.ts";

/** A Nix and a user, and what came of them. */
export interface Row {
  readonly nix: string;
  readonly user: string;
  /** The result of the tests, or the reason why they were not run. */
  readonly outcome: SuiteResult | string;
  readonly isFailure: boolean;
}

const HEAD = ["Nix", "user", "passed", "failed", "skipped", "seconds"];

/** A table of all rows, and a sentence for what was not run. */
export function printTable(rows: readonly Row[]): string {
  const cells = [HEAD, ...rows.map(cellsOf)];
  const width = (column: number): number =>
    Math.max(...cells.map((row) => row[column]?.length ?? 0));
  const [first, second] = [width(0), width(1)];
  const lines = cells.map(([nix = "", user = "", ...outcome]) => {
    const numbers = outcome.length > 1 ? outcome.map((cell) => cell.padStart(7)) : outcome;
    return [nix.padEnd(first), user.padEnd(second), ...numbers].join("  ");
  });
  return `${lines.join("\n")}\n\n${conclusion(rows)}\n`;
}

function cellsOf({ nix, user, outcome }: Row): string[] {
  if (typeof outcome === "string") return [nix, user, outcome];
  const { passed, failed, skipped, seconds } = outcome;
  return [nix, user, `${passed}`, `${failed}`, `${skipped}`, seconds.toFixed(0)];
}

function conclusion(rows: readonly Row[]): string {
  const failed = rows.filter(({ isFailure }) => isFailure).length;
  const tried = rows.filter(({ outcome }) => typeof outcome !== "string").length;
  const verdict = failed === 0 ? "ok" : "FAILED";
  const count = `${tried} of ${rows.length} tried, each with daemons and without`;
  return `${verdict}: ${count}${tried < rows.length ? "; the others not, for the reasons above" : ""}`;
}
