import { readFileSync } from "node:fs";

import { systemCode } from "./system-code.ts";

/** Files that Node, the store's database and the ledger have open, with some to spare. */
const OWN_FILES = 32;

let knownLimit: number | undefined;

/**
 * Returns how many things at once this process can afford that need `filesEach` open files, at most
 * `wanted`, at least one. Connections are files as well; two kinds of things have half of them each.
 */
export function affordable(
  wanted: number,
  filesEach: number,
  limit: number = (knownLimit ??= openFileLimit()),
): number {
  const most = Math.floor((limit - OWN_FILES) / 2 / filesEach);
  return Math.max(Math.min(wanted, most), 1);
}

/** Reads the limit that holds now: Node raises that of the shell as far as it may when it starts. */
function openFileLimit(): number {
  try {
    const limits = readFileSync("/proc/self/limits", "latin1");
    return Number(/^Max open files +(\d+)/m.exec(limits)?.[1] ?? Infinity);
  } catch {
    return Infinity; // there is no such file but on Linux, where alone limits this low were seen
  }
}

/** Tells whether something failed because this process, or the machine, may open no more files. */
export function isOutOfFiles(error: unknown): boolean {
  const code = systemCode(error);
  // A thread that does not start names the cause in its message only.
  return /\bE[MN]FILE\b/.test(`${String(code)} ${error instanceof Error ? error.message : ""}`);
}

export const OPEN_FILES_HINT: string =
  "Raise the limit of open files, for instance by ulimit -n 1024, or end a program that has many files open.";
