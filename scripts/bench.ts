import { mkdir, realpath, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

import type { Bench, Row } from "../bench/bench.ts";
import { FULL, openCorpus, QUICK } from "../bench/corpus.ts";
import type { Line } from "../bench/lines.ts";
import { findNixes, zstdVersion } from "../bench/nix-versions.ts";
import { printResults } from "../bench/results.ts";
import { ROWS } from "../bench/rows.ts";
import { startSink } from "../bench/sink.ts";
import { removeStore } from "../bench/store.ts";
import { printTable } from "../bench/table.ts";
import { tempDir } from "../test/temp.ts";
import { bundle } from "./build.ts";
import { ROOT } from "./command.ts";

/** Where every machine has files of all kinds. */
const REAL_ROOTS = ["/usr/lib", "/usr/share", "/usr/bin", "/usr/include", `${ROOT}/node_modules`];

const HELP = `Usage: npm run bench -- [options]

Measures handpick beside other programs, prints a table of ratios, and writes
it to bench/RESULTS.md once all rows are measured. The first run makes about
6 GB of store paths in ~/.cache/nix-handpick/bench, which later runs use again.

  --only <row>      Measure this row only, and write nothing; may be repeated
  --quick           Tiny sizes and one round: shows that it works, not how fast
  --output <file>   Write the results there (default: bench/RESULTS.md)
  --profile <dir>   Run only handpick, once a row, and put CPU profiles there
  --help            This help

Rows:
${ROWS.map(({ name, about }) => `  ${name.padEnd(16)}  ${about}`).join("\n")}
`;

const values = chosenOptions();
const stopped = new AbortController();
for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, () => stopped.abort());

if (values.help) process.stdout.write(HELP);
else await main();

async function main(): Promise<void> {
  try {
    await measure(chosenRows());
  } catch (error) {
    process.exitCode = stopped.signal.aborted ? 130 : 1;
    const text = error instanceof Error ? error.message : String(error);
    if (!stopped.signal.aborted) process.stderr.write(`${text}\n`);
  }
}

function chosenOptions() {
  try {
    return parseArgs({
      options: {
        only: { type: "string", multiple: true, default: [] },
        quick: { type: "boolean", default: false },
        output: { type: "string" },
        profile: { type: "string" },
        help: { type: "boolean", default: false },
      },
    }).values;
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    process.stderr.write(`${text}\nRun npm run bench -- --help\n`);
    process.exit(2);
  }
}

function chosenRows(): readonly Row[] {
  const unknown = values.only.find((name) => !ROWS.some((row) => row.name === name));
  if (unknown !== undefined) {
    const names = ROWS.map(({ name }) => name).join(", ");
    throw new Error(`There is no row ${JSON.stringify(unknown)}; there are ${names}`);
  }
  return values.only.length === 0 ? ROWS : ROWS.filter(({ name }) => values.only.includes(name));
}

async function measure(rows: readonly Row[]): Promise<void> {
  const { signal } = stopped;
  await bundle();
  await using temp = await tempDir("hp-bench-");
  const sizes = values.quick ? QUICK : FULL;
  const { store, corpus } = await openCorpus({
    dir: values.quick ? join(temp.dir, "corpus") : cacheDir(),
    sizes,
    roots: values.quick ? [`${ROOT}/node_modules`] : REAL_ROOTS,
    signal,
    say,
  });
  try {
    await using sink = await startSink();
    const workDir = join(await realpath(temp.dir), "work");
    await mkdir(workDir);
    const nixes = await findNixes({ store, isQuick: values.quick, say });
    await report(rows, {
      corpus,
      sizes,
      store,
      sink,
      nixes,
      zstd: await zstdVersion(store, signal),
      workDir,
      isQuick: values.quick,
      profileDir: values.profile === undefined ? undefined : resolve(values.profile),
      signal,
      say,
    });
  } finally {
    if (values.quick) await removeStore(store.dir, new AbortController().signal);
  }
}

async function report(rows: readonly Row[], bench: Bench): Promise<void> {
  const lines: Line[] = [];
  for (const row of rows) lines.push(...(await row.measure(bench)));
  if (bench.profileDir !== undefined) {
    say(`Profiles are in ${bench.profileDir}`);
    return;
  }
  process.stdout.write(printTable(lines));
  const isWhole = rows.length === ROWS.length && !bench.isQuick;
  const output = values.output ?? (isWhole ? join(ROOT, "bench/RESULTS.md") : undefined);
  if (output === undefined) return;
  await writeFile(output, await printResults(lines, bench));
  say(`Written to ${output}`);
}

function cacheDir(): string {
  const base = process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache");
  return join(base, "nix-handpick", "bench");
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}
