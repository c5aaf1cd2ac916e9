import { join } from "node:path";

import { userStateDir } from "../home-directory.ts";

/** Where handpick keeps its state: `HANDPICK_STATE_DIR`, else per system for root, else per user. */
export function stateDirectory(env: NodeJS.ProcessEnv, uid: number): string {
  const chosen = env["HANDPICK_STATE_DIR"] ?? "";
  if (chosen !== "") return chosen;
  if (uid === 0) return "/var/lib/handpick";
  return join(userStateDir(env), "handpick");
}
