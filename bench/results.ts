import { readFile } from "node:fs/promises";
import { arch, cpus, release, totalmem, type as systemName } from "node:os";
import { join } from "node:path";

import { ROOT } from "../scripts/command.ts";
import type { Bench } from "./bench.ts";
import { byteSize } from "./lines.ts";
import type { Line } from "./lines.ts";
import { printTable } from "./table.ts";

/** The document: the table, where it was measured, how, and why something is missed. */
export async function printResults(lines: readonly Line[], bench: Bench): Promise<string> {
  const limits = await readFile(join(ROOT, "bench/LIMITS.md"), "utf8");
  return [
    "# Results of the benchmarks",
    "",
    "Written by `npm run bench`, but for the last section, which is [LIMITS.md](LIMITS.md). Ratios are",
    "medians of pairs measured in turns, A B then B A; bounds are held by the worst run. Times are those of",
    "whole programs, with their start.",
    "",
    ...(bench.isQuick
      ? ["**Of a quick run, whose sizes are too small to mean anything.**", ""]
      : []),
    printTable(lines),
    "## Measured on",
    "",
    ...circumstances(bench),
    "",
    limits,
  ].join("\n");
}

function circumstances({ nixes, zstd }: Bench): string[] {
  const [cpu] = cpus();
  const versions = nixes.found.map(({ fullVersion }) => fullVersion).join(" and ");
  return [
    `- ${new Date().toISOString().slice(0, 10)}`,
    `- ${cpus().length} cores, ${cpu?.model ?? "unknown"}, ${byteSize(totalmem())} of memory`,
    `- ${systemName()} ${release()} ${arch()}`,
    `- Node ${process.versions.node} with zstd ${process.versions["zstd"] ?? "unknown"}`,
    `- Nix ${versions}, zstd ${zstd ?? "not installed"}`,
  ];
}
