import type { Config } from "../config/config.ts";
import type { Ledger } from "../state/ledger.ts";
import { readBuilds, removeBuilds } from "../state/spool.ts";
import type { StateFolder } from "../state/state-folder.ts";
import type { Store } from "../store/store.ts";
import { acceptedByRules } from "./accept.ts";
import { outputsOf } from "./build-outputs.ts";

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
  const accepted = await acceptedByRules([...held.valid], { config, store });
  ledger.addBuilds(accepted, Date.now());
  noteReturn(ledger, [...outputs, ...builds.map(({ derivation }) => derivation)]);
  await removeBuilds(folder, builds);
}

/** Has the next look start afresh if some of `paths` are what selections lacked; tells whether. */
export function noteReturn(ledger: Ledger, paths: readonly string[]): boolean {
  const gone = new Set(JSON.parse(ledger.fact("gone") ?? "[]") as readonly string[]);
  const isBack = paths.some((path) => gone.has(path));
  if (isBack) ledger.setFact("digest", "");
  return isBack;
}
