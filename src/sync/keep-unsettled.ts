import type { StorePath } from "../nix/store-path.ts";
import { keepRoots } from "../state/roots.ts";
import { isUnsettled } from "./due.ts";
import type { HeldWanted, LookRequest } from "./look.ts";

/**
 * Roots what is on its way, and nothing else: a selection that is in its caches costs no disk.
 *
 * @returns The roots.
 */
export async function keepUnsettled(
  { folder, ledger, onEvent }: LookRequest,
  { store, wanted }: Omit<HeldWanted, typeof Symbol.asyncDispose>,
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
  if (!(await keepRoots(folder, roots, (link) => store.addRoot(link)))) {
    const text = "what waits is not safe from the garbage collector: there is no daemon to ask";
    onEvent({ event: "note", text });
  }
  return roots;
}
