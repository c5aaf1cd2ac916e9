import { HandpickError } from "../error.ts";
import { quote } from "../nix/format-error.ts";
import type { Pick } from "../nix/manifest.ts";
import type { StorePath } from "../nix/store-path.ts";
import { closePicks } from "../select/closure.ts";
import type { RejectedInput, Selection } from "../select/select.ts";
import type { Store } from "../store/store.ts";

/** Inputs that one error names; the others are counted. */
const MOST_NAMED = 20;

interface LostOptions {
  readonly store: Store;
  /** The paths of picks that the store has. */
  readonly valid: ReadonlySet<StorePath>;
}

/** Takes paths that the store lacks out of picks, and picks of which nothing is left. */
export async function rejectLost(
  { picks, declared, rejected: known }: Selection,
  { store, valid }: LostOptions,
): Promise<Selection> {
  const rejected = [...known];
  const kept: Pick[] = [];
  const keptDeclared = new Set<Pick>();
  for (const pick of picks) {
    const paths = pick.paths.filter((path) => valid.has(path));
    for (const path of pick.paths) if (!valid.has(path)) rejected.push(lostPath(path, pick));
    // A pin is for the first path, and not for the one that comes after it.
    const pin = paths[0] === pick.paths[0] ? pick.pin : undefined;
    const part = paths.length === pick.paths.length ? pick : { ...pick, paths, pin };
    const unclosable = await whyUnclosable(part, store);
    if (unclosable !== undefined) rejected.push({ input: pick.name, error: unclosable });
    if (paths.length === 0 || unclosable !== undefined) continue;
    kept.push(part);
    if (declared.has(pick)) keptDeclared.add(part);
  }
  return { picks: kept, declared: keptDeclared, rejected };
}

/** Refuses inputs of which none, or not all, can be selected; a summary counts them. */
export class SelectionError extends HandpickError {
  readonly rejectedInputs: number;

  constructor(error: HandpickError, rejectedInputs: number) {
    const { code, message, hint, cause } = error;
    super(code, message, { hint, cause });
    this.rejectedInputs = rejectedInputs;
  }
}

/** Returns the one error for inputs of which none, or not all, can be selected. */
export function rejectionError(rejected: readonly RejectedInput[]): SelectionError | undefined {
  const [first] = rejected;
  if (first === undefined) return undefined;
  const error = rejected.length === 1 ? first.error : joinErrors(first, rejected);
  return new SelectionError(error, rejected.length);
}

function joinErrors(first: RejectedInput, rejected: readonly RejectedInput[]): HandpickError {
  const lines = rejected
    .slice(0, MOST_NAMED)
    .map(({ error: { message, code } }) => `  ${message} [${code}]`);
  const others = rejected.length - MOST_NAMED;
  if (others > 0) lines.push(`  and ${others} more`);
  const message = `Cannot select ${rejected.length} of the inputs:\n${lines.join("\n")}`;
  return new HandpickError(first.error.code, message, { hint: first.error.hint });
}

function lostPath(path: StorePath, { name, paths, pin }: Pick): RejectedInput {
  const left = pin !== undefined && path === paths[0] ? `; pin ${quote(pin)} is left as it is` : "";
  const message = `Cannot select pick ${quote(name)}: ${path} is not valid in the Nix store${left}`;
  const hint = "Build it, or take it out of the selection.";
  return { input: path, error: new HandpickError("PATH_NOT_VALID", message, { hint }) };
}

/** Returns why the derivations of a build closure cannot be found, if they cannot. */
async function whyUnclosable(pick: Pick, store: Store): Promise<HandpickError | undefined> {
  if (pick.closure !== "build" || pick.paths.length === 0) return undefined;
  try {
    await closePicks([pick], store);
    return undefined;
  } catch (error) {
    if (error instanceof HandpickError && error.code === "PATH_NOT_VALID") return error;
    throw error;
  }
}
