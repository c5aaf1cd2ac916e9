import { readlink } from "node:fs/promises";
import { join } from "node:path";

import type { StateFolder } from "./state-folder.ts";

/**
 * When a hook of a shell started a sync last, in milliseconds since 1970; undefined if none has. Where no
 * service manager starts syncs, nothing else tells who does. It is a link, as hooks write what they know:
 * root's hook must not open what is there.
 */
export async function readStarted({ dir }: StateFolder): Promise<number | undefined> {
  const target = await readlink(join(dir, "started")).catch(() => "");
  return /^\d{1,10}$/.test(target) ? Number(target) * 1000 : undefined;
}
