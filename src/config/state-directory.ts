import { join } from "node:path";

import { userStateDir } from "../home-directory.ts";

/** The state of the system's services, and of root. */
export const SYSTEM_STATE_DIRECTORY = "/var/lib/handpick";

/** Where handpick keeps its state: `HANDPICK_STATE_DIR`, else per system for root, else per user. */
export function stateDirectory(env: NodeJS.ProcessEnv, uid: number): string {
  const chosen = env["HANDPICK_STATE_DIR"] ?? "";
  if (chosen !== "") return chosen;
  if (uid === 0) return SYSTEM_STATE_DIRECTORY;
  return join(userStateDir(env), "handpick");
}
