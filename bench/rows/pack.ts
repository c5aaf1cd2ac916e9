import { join } from "node:path";

import { build } from "esbuild";

import { ROOT } from "../../scripts/command.ts";
import type { Bench, Row } from "../bench.ts";
import type { CorpusPath } from "../corpus.ts";
import { runNode } from "../handpick.ts";
import { byteSize, missingLines, speedLine } from "../lines.ts";
import type { Line } from "../lines.ts";
import { run } from "../process.ts";
import { compare } from "../compare.ts";

const AGAINST = "nix-store --dump | zstd -3 -T2";
/** A pipe hides how its first program ended. */
const PIPE = '{ nix-store --dump "$1" || kill $$; } | zstd -3 -T2 -q -c > /dev/null';

/** Row 1: packing without a network. */
export const packRow: Row = {
  name: "pack",
  about: "pack and compress, against nix-store --dump | zstd",
  async measure(bench) {
    const program = await bundlePacker(bench.workDir);
    const lines: Line[] = [];
    for (const [what, path] of [
      ["pack a few large files", bench.corpus.large],
      ["pack many small files", bench.corpus.small],
    ] as const) {
      lines.push(...(await packOne(bench, { what, path, program })));
    }
    return lines;
  },
};

interface PackCase {
  readonly what: string;
  readonly path: CorpusPath;
  readonly program: string;
}

async function packOne(bench: Bench, { what, path, program }: PackCase): Promise<Line[]> {
  const { store, workDir, zstd, signal } = bench;
  const { sizeBytes } = path;
  const files = store.physical(path.path);
  const options = { env: store.env, cwd: workDir, signal };
  await store.warm(path.path, signal);
  const pipe = ["-c", PIPE, "sh", files];
  let fileSize = 0;
  const { ours, theirs, missing } = await compare(bench, what, {
    ours: async () => {
      const { seconds, stdout } = await runNode(bench, [program, files, String(sizeBytes)]);
      const packed = JSON.parse(stdout) as { narSize: number; fileSize: number };
      if (packed.narSize !== sizeBytes) throw new Error(`Expected ${sizeBytes}, packed ${stdout}`);
      fileSize = packed.fileSize;
      return seconds;
    },
    theirs:
      zstd === undefined
        ? []
        : [{ name: AGAINST, run: async () => (await run("sh", pipe, options)).seconds }],
    missing: zstd === undefined ? [{ against: AGAINST, reason: "zstd is not installed" }] : [],
  });
  const sized = `${what}, ${byteSize(sizeBytes)} to ${byteSize(fileSize)}`;
  return [
    ...theirs.map(({ name, times }) =>
      speedLine({ what: sized, against: name, reach: 0.9 }, ours, times),
    ),
    ...missingLines(sized, missing),
  ];
}

/** Bundled as the program is, since reading sources takes Node longer. */
async function bundlePacker(workDir: string): Promise<string> {
  await build({
    absWorkingDir: ROOT,
    entryPoints: {
      "pack-path": "bench/pack-path.ts",
      "pack-worker": "src/push/pack-worker.ts",
    },
    outdir: workDir,
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node24",
    logLevel: "warning",
  });
  return join(workDir, "pack-path.js");
}
