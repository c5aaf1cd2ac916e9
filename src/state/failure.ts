import type { Failure } from "../error.ts";
import { plausibleSince } from "./times.ts";
import { readLine, replaceFile, type StateFolder } from "./state-folder.ts";

const NAME = "failure";

/** Why syncs end with an error. */
export interface SyncFailure extends Failure {
  /** When it began, in milliseconds since 1970; absent where that is not known. */
  readonly since?: number;
}

/**
 * Records why a sync ended with an error, in a file of its own: the ledger may be unusable.
 *
 * @returns The time since when syncs fail.
 * @throws {HandpickError} `FILE_UNUSABLE`
 */
export async function recordFailure(
  folder: StateFolder,
  failure: SyncFailure,
  at: number,
): Promise<{ readonly since: number }> {
  const known = await readFailure(folder);
  const since = plausibleSince(known?.since ?? at, at);
  await replaceFile(folder, NAME, JSON.stringify({ ...failure, since }));
  return { since };
}

/**
 * A sync went well.
 *
 * @throws {HandpickError} `FILE_UNUSABLE`
 */
export async function clearFailure(folder: StateFolder): Promise<void> {
  await replaceFile(folder, NAME, undefined);
}

/** Why the last sync ended with an error, if it did; what we did not write ourselves is no failure. */
export async function readFailure(folder: StateFolder): Promise<SyncFailure | undefined> {
  try {
    const found: unknown = JSON.parse(await readLine(folder, NAME));
    if (typeof found !== "object" || found === null) return undefined;
    const { code, message, hint, since }: Readonly<Record<string, unknown>> = { ...found };
    if (typeof code !== "string" || typeof message !== "string") return undefined;
    return {
      code,
      message,
      ...(typeof hint === "string" ? { hint } : {}),
      ...(typeof since === "number" ? { since } : {}),
    };
  } catch {
    return undefined;
  }
}
