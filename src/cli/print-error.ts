import { HandpickError } from "../error.ts";
import { printable } from "../report/format.ts";
import type { Io } from "./io.ts";

/** Prints what ended the run: one line, what to do about it, and for our own mistakes the stack. */
export function printError(error: unknown, io: Pick<Io, "stderr" | "env">): void {
  const { stderr, env } = io;
  if (error instanceof AggregateError) {
    for (const one of error.errors) printError(one, io);
    return;
  }
  if (error instanceof HandpickError) {
    stderr.write(`handpick: ${printable(error.message)} [${error.code}]\n`);
    if (error.hint !== undefined) stderr.write(`  ${printable(error.hint)}\n`);
  } else if (error instanceof Error) {
    stderr.write(`handpick: unexpected error: ${printable(error.message)}\n`);
  } else {
    stderr.write(`handpick: unexpected error: ${printable(String(error))}\n`);
  }
  if (env["HANDPICK_DEBUG"] !== undefined) stderr.write(`${debugText(error)}\n`);
}

function debugText(error: unknown): string {
  if (!(error instanceof Error)) return "";
  const stack = printable(error.stack ?? "");
  return error.cause === undefined ? stack : `${stack}\ncaused by ${debugText(error.cause)}`;
}
