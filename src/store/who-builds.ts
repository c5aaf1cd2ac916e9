import { constants } from "node:fs";
import { access } from "node:fs/promises";

import { parseStoreUri } from "./store-uri.ts";
import type { Store } from "./store.ts";

/** The builder for a program that this user starts: itself, or a daemon that obeys it or not. */
export type Builder = "self" | "obeying-daemon" | "daemon";

/**
 * Finds out who builds where nothing but this environment says so, by the rule that Nix goes by: who
 * may write the state folder needs no daemon. A daemon that does not tell whether it obeys us counts
 * as one that does not.
 *
 * @param store As opened in this environment.
 * @throws {HandpickError} As {@link parseStoreUri}.
 */
export async function whoBuilds(
  env: NodeJS.ProcessEnv,
  { trusted }: Pick<Store, "trusted">,
): Promise<Builder> {
  const { way, layout } = parseStoreUri(env["NIX_REMOTE"] ?? "auto", env);
  if (way === "database" || (way === "auto" && (await isWritable(layout.stateDir)))) return "self";
  return trusted === true ? "obeying-daemon" : "daemon";
}

async function isWritable(folder: string): Promise<boolean> {
  return access(folder, constants.R_OK | constants.W_OK).then(
    () => true,
    () => false,
  );
}
