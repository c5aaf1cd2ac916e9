import type { StorePath } from "../nix/store-path.ts";
import type { Ledger } from "../state/ledger.ts";
import type { PassedOver } from "../state/passed-over.ts";
import { keepRoots } from "../state/roots.ts";
import type { StateFolder } from "../state/state-folder.ts";
import type { Store } from "../store/store.ts";
import { isUnsettled } from "./due.ts";
import type { RunEvent } from "../run/events.ts";
import type { Wanted } from "./wanted-picks.ts";

export interface KeepOptions {
  readonly folder: StateFolder;
  readonly ledger: Ledger;
  readonly passedOver: PassedOver;
  readonly onEvent: (event: RunEvent) => void;
}

/**
 * Roots what is on its way, and nothing else: a selection that is in its caches costs no disk.
 *
 * @returns The roots.
 */
export async function keepUnsettled(
  { folder, ledger, passedOver, onEvent }: KeepOptions,
  { store, wanted }: { readonly store: Store; readonly wanted: Wanted },
): Promise<ReadonlySet<StorePath>> {
  const unsettled = new Set(
    ledger
      .entries()
      .filter(isUnsettled)
      .map(({ path }) => path),
  );
  const roots = new Set<StorePath>();
  for (const { manifest, picks } of wanted.selections) {
    const open = picks.filter(({ members }) => !members.isDisjointFrom(unsettled));
    if (open.length > 0) roots.add(manifest);
    for (const pick of open) {
      const own = [...pick.paths, ...wanted.loose.intersection(pick.members)];
      for (const path of own) roots.add(path);
    }
  }
  const register = (link: string): Promise<boolean> => store.addRoot(link);
  if (!(await keepRoots(folder, roots, { register, passedOver }))) {
    const text = "waiting paths are not safe from the garbage collector: there is no daemon to ask";
    onEvent({ event: "note", text });
  }
  return roots;
}
