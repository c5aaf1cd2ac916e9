import type { Config } from "../config/config.ts";
import { parseStrings } from "../state/facts.ts";
import type { Ledger } from "../state/ledger.ts";
import type { PassedOver } from "../state/passed-over.ts";
import { type BuildEvent, readBuilds, removeBuilds } from "../state/spool.ts";
import type { StateFolder } from "../state/state-folder.ts";
import type { Store } from "../store/store.ts";
import { outputsOf } from "../run/build-outputs.ts";
import { acceptedByRules } from "../run/built-picks.ts";
import type { RunEvent } from "../run/events.ts";

export interface BuildIntake {
  readonly folder: StateFolder;
  readonly ledger: Ledger;
  readonly config: Config;
  readonly openStore: () => Promise<Store>;
  readonly passedOver: PassedOver;
  readonly onEvent: (event: RunEvent) => void;
  /** The time in milliseconds since 1970. */
  readonly now: () => number;
}

/**
 * Takes builds out of the queue and records the outputs that are to be pushed: those that a glob of
 * `[builds]` fits, and manifests where they count. What a selection wants and had lost is a reason to look at selections
 * again. All others are counted and forgotten, and no cache hears of them.
 */
export async function takeBuilds(intake: BuildIntake): Promise<void> {
  await using stack = new AsyncDisposableStack();
  let store: Store | undefined;
  let ignored = 0;
  for await (const builds of readBuilds(intake.folder)) {
    store ??= stack.use(await intake.openStore());
    ignored += await record(builds, store, intake);
  }
  if (ignored === 0) return;
  const text = `paths built that no rule of [builds] accepts: ${ignored}; selections push the paths that they name`;
  intake.onEvent({ event: "note", text });
}

/** Returns how many paths no rule accepts. */
async function record(
  builds: readonly BuildEvent[],
  store: Store,
  { folder, ledger, config, passedOver, onEvent, now }: BuildIntake,
): Promise<number> {
  const outputs = (await Promise.all(builds.map((build) => outputsOf(build, store)))).flat();
  await using held = await store.hold(new Set(outputs));
  const accepted = await acceptedByRules([...held.valid], { config, store }, (text) =>
    onEvent({ event: "note", text }),
  );
  ledger.addBuilds(accepted, now());
  noteReturn(ledger, [...outputs, ...builds.map(({ derivation }) => derivation)]);
  await removeBuilds(folder, builds, passedOver);
  return held.valid.size - accepted.length;
}

/** Has the next look start afresh if some of `paths` are what selections lacked; tells whether. */
export function noteReturn(ledger: Ledger, paths: readonly string[]): boolean {
  const gone = new Set(parseStrings(ledger.fact("gone")));
  const isBack = paths.some((path) => gone.has(path));
  if (isBack) ledger.setFact("digest", "");
  return isBack;
}
