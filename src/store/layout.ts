import { lstat, readlink } from "node:fs/promises";
import { dirname, join, resolve as resolvePath, sep } from "node:path";

import { HandpickError } from "../error.ts";
import { quote } from "../nix/format-error.ts";
import { fromBaseName, isStorePath, type StorePath } from "../nix/store-path.ts";

/** Where a store's parts are. */
export interface StoreLayout {
  /** Logical store folder, the prefix of store paths. */
  readonly storeDir: string;
  /** Folder of the file system that holds the paths; differs from `storeDir` in a chroot store. */
  readonly realStoreDir: string;
  /** Folder of the file system that holds database and sockets, `/nix/var/nix` as a rule. */
  readonly stateDir: string;
  /** Folder of the file system that holds the logs of builds, `/nix/var/log/nix` as a rule. */
  readonly logDir: string;
}

/** Where Nix's database and its log are. */
export function databaseDir({ stateDir }: StoreLayout): string {
  return join(stateDir, "db");
}

/** As many links in a row as Linux follows. */
const MAX_LINKS = 40;

/** Where the files of `path` are. */
export function physicalPathOf(layout: StoreLayout, path: StorePath): string {
  return layout.realStoreDir + path.slice(layout.storeDir.length);
}

/**
 * Follows links from `path` until they arrive in the store, and cuts to the store path there. A
 * store path that is itself a link is not followed any further: it is what was meant. Whether
 * there is something at the rest of the path below the store path is not looked at.
 *
 * @throws {HandpickError} `NOT_A_STORE_PATH` if the links end outside the store or nowhere.
 */
export async function resolveInStore(layout: StoreLayout, path: string): Promise<StorePath> {
  let current = resolvePath(path);
  for (let links = 0; links <= MAX_LINKS; links++) {
    const inner = innerPath(layout, current);
    if (inner !== undefined) return existing(layout, { path, inner });
    const next = await expandFirstLink(current).catch((error: unknown) => {
      throw notAStorePath(path, "found nothing there", error);
    });
    if (next === undefined) throw notAStorePath(path, `found ${quote(current)}`);
    current = next;
  }
  throw notAStorePath(path, `found more than ${MAX_LINKS} links in a row`);
}

/** The part below the store folder, by whichever of its two names. */
function innerPath(layout: StoreLayout, path: string): string | undefined {
  for (const folder of [layout.storeDir, layout.realStoreDir]) {
    if (path.startsWith(folder + sep)) return path.slice(folder.length + 1);
  }
  return undefined;
}

async function existing(
  layout: StoreLayout,
  { path, inner }: { readonly path: string; readonly inner: string },
): Promise<StorePath> {
  const baseName = inner.split(sep, 1)[0] ?? "";
  if (!isStorePath(`${layout.storeDir}/${baseName}`, layout.storeDir)) {
    throw notAStorePath(path, `found ${quote(baseName)}`);
  }
  await lstat(join(layout.realStoreDir, baseName)).catch((error: unknown) => {
    throw notAStorePath(path, "found nothing there", error);
  });
  return fromBaseName(baseName, layout.storeDir);
}

/** Replaces the first component of `path` that is a link by its target. */
async function expandFirstLink(path: string): Promise<string | undefined> {
  const components = path.split(sep);
  for (let end = 2; end <= components.length; end++) {
    const prefix = components.slice(0, end).join(sep);
    if (!(await lstat(prefix)).isSymbolicLink()) continue;
    return resolvePath(dirname(prefix), await readlink(prefix), ...components.slice(end));
  }
  return undefined;
}

function notAStorePath(path: string, found: string, cause?: unknown): HandpickError {
  return new HandpickError(
    "NOT_A_STORE_PATH",
    `Cannot resolve ${quote(path)}: expected a link to or a file in the Nix store, ${found}`,
    { cause, hint: "Build first, then name the link to the result, such as ./result." },
  );
}
