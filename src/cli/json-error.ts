import { toFailure } from "../error.ts";
import { Tally } from "../run/tally.ts";
import { SelectionError } from "../run/reject-lost.ts";

/**
 * The form that `--json` gives an error that ends a command: one object, an event where the answer is events,
 * the end of a run, or nothing where stdout is somebody else's.
 */
export type JsonErrors = "object" | "event" | "run" | "none";

/** Returns the lines of JSON for the errors that end a command; one object names the first. */
export function jsonErrorLines(errors: readonly unknown[], kind: JsonErrors): string[] {
  return objects(errors, kind).map((object) => JSON.stringify(object));
}

function objects(thrown: readonly unknown[], kind: JsonErrors): readonly object[] {
  const errors = thrown.map(toFailure);
  const events = errors.map((error) => ({ event: "error", error }));
  switch (kind) {
    case "object":
      return [{ version: 1, error: errors[0], ...(errors.length > 1 ? { errors } : {}) }];
    case "event":
      return events;
    case "run":
      // Programs that read events wait for the summary, whatever happens.
      return [...events, { ...new Tally().summary(), failed: countRejected(thrown) }];
    case "none":
      return [];
  }
}

function countRejected(errors: readonly unknown[]): number {
  const counts = errors.map((error) =>
    error instanceof SelectionError ? error.rejectedInputs : 0,
  );
  return counts.reduce((sum, count) => sum + count, 0);
}

/** Wraps an error that a command has told in its JSON already. */
export class ToldError extends Error {
  override readonly name = "ToldError";

  constructor(cause: unknown) {
    super("told", { cause });
  }
}
