import { type ErrorCode, HandpickError } from "../error.ts";
import { isStorePath, type StorePath } from "../nix/store-path.ts";
import type { BuildEvent } from "../state/spool.ts";
import type { Store } from "../store/store.ts";

/** Derivations that have no outputs for us; every other error is of the store as a whole. */
const USELESS: ReadonlySet<ErrorCode> = new Set([
  "PATH_NOT_VALID",
  "STORE_PATH_GONE",
  "STORE_PATH_CORRUPT",
  "STORE_PATH_UNREADABLE",
]);

/**
 * The outputs of a build that a hook told of. Nix 2.8 names none, so the derivation is asked. What
 * Nix says otherwise is not trusted to be store paths.
 */
export async function outputsOf(
  { derivation, outputs }: Omit<BuildEvent, "file">,
  store: Store,
): Promise<StorePath[]> {
  const isPath = (text: string): text is StorePath => isStorePath(text, store.storeDir);
  if (outputs.length > 0) return outputs.filter(isPath);
  if (!isPath(derivation)) return [];
  try {
    const known = await store.derivationOutputs(derivation);
    return [...known.values()].filter((path) => path !== undefined);
  } catch (error) {
    if (error instanceof HandpickError && USELESS.has(error.code)) return [];
    throw error;
  }
}
