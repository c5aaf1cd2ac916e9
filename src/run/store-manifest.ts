import type { Manifest } from "../nix/manifest.ts";
import type { StorePath } from "../nix/store-path.ts";
import { readManifestFile } from "../select/manifest-file.ts";
import type { Store } from "../store/store.ts";

/**
 * Reads the manifest that a store path is; undefined if it is none.
 *
 * @throws {HandpickError} `MANIFEST_INVALID` if it is meant as a manifest and is none.
 */
export async function readStoreManifest(
  path: StorePath,
  store: Store,
): Promise<Manifest | undefined> {
  const { storeDir } = store;
  return await readManifestFile(store.physicalPath(path), { storeDir, isStorePath: true });
}
