import { HandpickError } from "../error.ts";
import { isDerivation, type StorePath } from "../nix/store-path.ts";
import type { Store } from "../store/store.ts";
import type { SignedBy } from "./built-here.ts";
import type { Infos } from "./reachable.ts";

/** Paths that became valid since; most are derivations. */
const WINDOW = 50_000;
const MOST_PATHS = 5_000;
const RECENT_MS = 30 * 24 * 3600_000;

/** Paths that came to the store of late, or the reason why nobody knows. */
export type Recent = { readonly paths: readonly StorePath[] } | { readonly fault: string };

export interface RecentOptions {
  /** Paths to leave out. */
  readonly known: Infos;
  readonly isFromUpstream: SignedBy;
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** Finds the paths that came to the store in the last 30 days and not from an upstream, of the newest 5 000. */
export async function recentBuilds(
  store: Pick<Store, "newPaths" | "pathInfos">,
  { known, isFromUpstream, now }: RecentOptions,
): Promise<Recent> {
  try {
    const { mark } = await store.newPaths();
    const { paths } = await store.newPaths(Math.max(mark - WINDOW, 0));
    const outputs = paths.filter((path) => !isDerivation(path)).slice(-MOST_PATHS);
    const records = await store.pathInfos(outputs.filter((path) => !known.has(path)));
    const recent = [...records.values()].filter(
      (info) => info.registrationTime * 1000 > now - RECENT_MS && !isFromUpstream(info),
    );
    return { paths: recent.map(({ path }) => path) };
  } catch (error) {
    if (!(error instanceof HandpickError) || error.code !== "STORE_UNSUPPORTED") throw error;
    return { fault: error.message };
  }
}
