import { HandpickError } from "../error.ts";
import { printable } from "../report/format.ts";
import { writeText } from "../report/output.ts";
import { painter } from "../report/painter.ts";
import type { Io } from "./io.ts";

/** Prints what ended the run: one line, what to do about it, and for our own mistakes the stack. */
export function printError(error: unknown, io: Pick<Io, "stderr" | "env">): void {
  const { stderr, env } = io;
  if (error instanceof AggregateError) {
    for (const one of error.errors) printError(one, io);
    return;
  }
  const paint = painter(stderr);
  writeText(stderr, `${paint("red", "handpick:")} ${printable(messageOf(error))}`);
  if (error instanceof HandpickError && error.hint !== undefined) {
    writeText(stderr, `  ${printable(error.hint)}`);
  }
  if (env["HANDPICK_DEBUG"] !== undefined) stderr.write(`${debugText(error)}\n`);
}

function messageOf(error: unknown): string {
  if (error instanceof HandpickError) return `${error.message} [${error.code}]`;
  return `unexpected error: ${error instanceof Error ? error.message : String(error)}`;
}

function debugText(error: unknown): string {
  if (!(error instanceof Error)) return "";
  const stack = printable(error.stack ?? "");
  return error.cause === undefined ? stack : `${stack}\ncaused by ${debugText(error.cause)}`;
}
