import { mkdir, mkdtemp, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";

import type { Bench } from "./bench.ts";

/** Makes a state folder that wants the closure of many paths, and knows of no cache. Returns its variable. */
export async function wantMany(bench: Bench): Promise<Readonly<Record<string, string>>> {
  const state = await mkdtemp(join(bench.workDir, "state-"));
  await mkdir(join(state, "wanted"), { mode: 0o700 });
  await symlink(await addManifest(bench), join(state, "wanted/bench"));
  return { HANDPICK_STATE_DIR: state };
}

async function addManifest({ store, corpus, workDir, signal }: Bench): Promise<string> {
  const picks = [{ name: "many", paths: [corpus.many.path] }];
  const file = join(workDir, "bench-manifest.json");
  await writeFile(file, JSON.stringify({ version: 1, name: "bench", picks }));
  return await store.nix("nix-store", ["--add", file], signal);
}
