import { readFile } from "node:fs/promises";
import { arch, cpus, release, totalmem, type as systemName } from "node:os";
import { join } from "node:path";

import { ROOT } from "../scripts/command.ts";
import type { Bench } from "./bench.ts";
import type { Line } from "./lines.ts";
import { run } from "./process.ts";
import { printTable } from "./table.ts";

/** The document: the table, where it was measured, how, and why something is missed. */
export async function printResults(lines: readonly Line[], bench: Bench): Promise<string> {
  const limits = await readFile(join(ROOT, "bench/LIMITS.md"), "utf8");
  return [
    "# Results of the benchmarks",
    "",
    "Written by `npm run bench`, but for the last section, which is [LIMITS.md](LIMITS.md). Ratios are",
    "medians of pairs measured in turns, A B then B A. All times are those of whole programs.",
    "",
    ...(bench.isQuick
      ? ["**Of a quick run, whose sizes are too small to mean anything.**", ""]
      : []),
    printTable(lines),
    "## Measured on",
    "",
    ...(await circumstances(bench)),
    "",
    limits,
  ].join("\n");
}

async function circumstances(bench: Bench): Promise<string[]> {
  const { store, nixes, signal } = bench;
  const [cpu] = cpus();
  const { stdout } = await run("zstd", ["--version"], { env: store.env, cwd: store.dir, signal });
  const zstd = /v\d[\d.]*/.exec(stdout)?.[0] ?? "unknown";
  const versions = nixes.found.map(({ fullVersion }) => fullVersion).join(" and ");
  return [
    `- ${new Date().toISOString().slice(0, 10)}`,
    `- ${cpus().length} cores, ${cpu?.model ?? "unknown"}, ${(totalmem() / 1e9).toFixed(0)} GB of memory`,
    `- ${systemName()} ${release()} ${arch()}`,
    `- Node ${process.versions.node} with zstd ${process.versions["zstd"] ?? "unknown"}`,
    `- Nix ${versions}, zstd ${zstd}`,
  ];
}
