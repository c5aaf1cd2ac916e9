import { chmod } from "node:fs/promises";

/** The id of the user and the group `nobody`. */
export const NOBODY = 65534;

/**
 * Runs `task` with the rights of an ordinary user: root becomes `nobody` for that long, everybody
 * else is one already. Credentials belong to the whole process, so nothing else may run meanwhile.
 */
export async function asOrdinaryUser<T>(task: () => Promise<T>): Promise<T> {
  if (process.geteuid?.() !== 0) return task();
  process.setegid?.(NOBODY);
  process.seteuid?.(NOBODY);
  try {
    return await task();
  } finally {
    process.seteuid?.(0);
    process.setegid?.(0);
  }
}

/** Takes the right to make files in `dir` from the ordinary user, who may own it. */
export async function makeUnwritable(dir: string): Promise<void> {
  await chmod(dir, 0o555);
}
