import { EXIT, exitOf, HandpickError } from "../error.ts";

/** The exit code for a run that an error ended. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof AggregateError) return exitCodeAfter(error.errors, 0);
  return error instanceof HandpickError ? exitOf(error.code) : EXIT.somePathsFailed;
}

/** The exit code for a run that went on: of `failures` where they agree and are all that is wrong. */
export function exitCodeAfter(failures: readonly unknown[], troubledPaths: number): number {
  const codes = new Set(failures.map(exitCodeOf));
  if (troubledPaths > 0) codes.add(EXIT.somePathsFailed);
  const [first = EXIT.done] = codes;
  return codes.size > 1 ? EXIT.somePathsFailed : first;
}
