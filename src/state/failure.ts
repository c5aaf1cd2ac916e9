import { randomUUID } from "node:crypto";
import { readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

import type { Trouble } from "./ledger.ts";
import { type StateFolder, stateUnusable } from "./state-folder.ts";

/** Why syncs end with an error. */
export interface SyncFailure extends Trouble {
  readonly hint?: string;
  /** When it began, in milliseconds since 1970; absent where that is not known. */
  readonly since?: number;
}

/**
 * Writes down why a sync ended with an error, beside the ledger, which may be what cannot be used.
 *
 * @returns What is known now: since when syncs fail.
 * @throws {HandpickError} `FILE_UNUSABLE`
 */
export async function recordFailure(
  folder: StateFolder,
  failure: SyncFailure,
  at: number,
): Promise<{ readonly since: number }> {
  const known = await readFailure(folder);
  const since = known?.since ?? at;
  const temporary = join(folder.dir, `.failure-${randomUUID()}`);
  try {
    await writeFile(temporary, `${JSON.stringify({ ...failure, since })}\n`, { mode: 0o600 });
    await rename(temporary, fileOf(folder));
    return { since };
  } catch (error) {
    await rm(temporary, { force: true });
    throw stateUnusable(folder.dir, error);
  }
}

/**
 * A sync went well.
 *
 * @throws {HandpickError} `FILE_UNUSABLE`
 */
export async function clearFailure(folder: StateFolder): Promise<void> {
  await rm(fileOf(folder), { force: true }).catch((error: unknown) => {
    throw stateUnusable(folder.dir, error);
  });
}

/** Why the last sync ended with an error, if it did; what we did not write ourselves is no failure. */
export async function readFailure(folder: StateFolder): Promise<SyncFailure | undefined> {
  try {
    const found = JSON.parse(await readFile(fileOf(folder), "utf8")) as SyncFailure;
    const { code, message, hint, since } = found;
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

function fileOf({ dir }: StateFolder): string {
  return join(dir, "failure");
}
