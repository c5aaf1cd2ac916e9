import type { Config } from "../config/config.ts";
import { HandpickError } from "../error.ts";
import { compileGlob } from "../nix/glob.ts";
import { isStorePath, type StorePath } from "../nix/store-path.ts";
import type { Ledger } from "../state/ledger.ts";
import { type BuildEvent, readBuilds, removeBuilds } from "../state/spool.ts";
import type { StateFolder } from "../state/state-folder.ts";
import type { Store } from "../store/store.ts";
import { readBuiltManifest } from "./store-manifest.ts";

export interface BuildIntake {
  readonly folder: StateFolder;
  readonly ledger: Ledger;
  readonly config: Config;
  readonly openStore: () => Promise<Store>;
}

/**
 * Takes builds out of the queue and records the outputs that are to be pushed: those that a glob of
 * `[events]` fits, and manifests. What a selection wants and had lost is a reason to look at selections
 * again. All others are forgotten, and no cache hears of them.
 */
export async function takeBuilds(intake: BuildIntake): Promise<void> {
  const { folder, ledger, config, openStore } = intake;
  const builds = await readBuilds(folder);
  if (builds.length === 0) return;
  await using store = await openStore();
  const outputs = (await Promise.all(builds.map((build) => outputsOf(build, store)))).flat();
  await using held = await store.hold(new Set(outputs));
  const globs = config.events.include.map(compileGlob);
  const accepted: StorePath[] = [];
  for (const path of held.valid) {
    const isAccepted =
      globs.some((fits) => fits(path)) || (await readBuiltManifest(path, store)) !== undefined;
    if (isAccepted) accepted.push(path);
  }
  ledger.addBuilds(accepted, Date.now());
  const gone = new Set(JSON.parse(ledger.fact("gone") ?? "[]") as readonly string[]);
  const isBack = (path: string): boolean => gone.has(path);
  if (outputs.some(isBack) || builds.some(({ derivation }) => isBack(derivation))) {
    ledger.setFact("digest", "");
  }
  await removeBuilds(folder, builds);
}

/** Derivations that have no outputs for us; every other error is of the store as a whole. */
const USELESS: ReadonlySet<string> = new Set([
  "PATH_NOT_VALID",
  "STORE_PATH_GONE",
  "STORE_PATH_CORRUPT",
  "STORE_PATH_UNREADABLE",
]);

/** Nix 2.8 names no outputs. What it says otherwise is not trusted to be store paths. */
async function outputsOf({ derivation, outputs }: BuildEvent, store: Store): Promise<StorePath[]> {
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
