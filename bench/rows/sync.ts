import { mkdir, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";

import type { Bench, Row } from "../bench.ts";
import { compare } from "../compare.ts";
import { PROGRAM, runNode, writeConfig } from "../handpick.ts";
import { boundLine, seconds } from "../lines.ts";

const MOST_SECONDS = 0.15;

/** A sync of a selection that is where it should be: what the timer of a service starts all day. */
export const syncRow: Row = {
  name: "sync",
  about: "a sync that has nothing to do",
  async measure(bench) {
    const { sizes, sink, workDir } = bench;
    const what = `sync with nothing to do, selection of ${sizes.manyPaths} paths`;
    const state = join(workDir, "state");
    await rm(state, { recursive: true, force: true });
    await mkdir(join(state, "wanted"), { recursive: true, mode: 0o700 });
    await symlink(await addManifest(bench), join(state, "wanted/bench"));
    const env = { BENCH_TOKEN: "token", HANDPICK_STATE_DIR: state };
    const sync = [PROGRAM, "sync", "-q", "-c", await writeConfig(bench)];
    sink.reset({ hasAll: true });
    await runNode(bench, sync, env);
    const requests: number[] = [];
    const { ours } = await compare(bench, what, {
      rounds: 15,
      ours: async () => {
        sink.reset({ hasAll: true });
        const finished = await runNode(bench, sync, env);
        requests.push(sink.counts().requests);
        return finished.seconds;
      },
      theirs: [],
    });
    return [
      boundLine({ what, reach: MOST_SECONDS }, ours, seconds),
      boundLine({ what: `requests: ${what}`, reach: 0 }, requests, String),
    ];
  },
};

async function addManifest({ store, corpus, workDir, signal }: Bench): Promise<string> {
  const picks = [{ name: "many", paths: [corpus.many.path] }];
  const file = join(workDir, "bench-manifest.json");
  await writeFile(file, JSON.stringify({ version: 1, name: "bench", picks }));
  return await store.nix("nix-store", ["--add", file], signal);
}
