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
 * Takes builds out of the spool and records the outputs that are to be pushed: those that a glob of
 * `[events]` fits, and manifests. Others are forgotten, and no cache hears of them.
 */
export async function takeBuilds({ folder, ledger, ...rest }: BuildIntake): Promise<void> {
  const builds = await readBuilds(folder);
  if (builds.length === 0) return;
  const { config, openStore } = rest;
  await using store = await openStore();
  const outputs = (await Promise.all(builds.map((build) => outputsOf(build, store)))).flat();
  await using held = await store.hold(new Set(outputs));
  const accepted = await acceptedByRules([...held.valid], { config, store });
  ledger.addBuilds(accepted, Date.now());
  await removeBuilds(folder, builds);
}
