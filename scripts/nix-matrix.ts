import { parseArgs } from "node:util";

import { bundle } from "./build.ts";
import { Unavailable } from "./debian-packages.ts";
import { printTable, type Row } from "./nix-matrix-table.ts";
import { runSuite, type User, users, whyNot } from "./nix-suite.ts";
import { nixTests } from "./nix-tests.ts";
import {
  hasVersion,
  nixBin,
  NIX_VERSIONS,
  type NixVersion,
  nixVersion,
  ownNix,
} from "./nix-trees.ts";

const HELP = `Usage: npm run test:nix-matrix -- [options] [<test file>...]

Runs the tests that need Nix with Nix 2.8, 2.26 and 2.34 or newer, and with the
Nix of this machine if it is another; each as the present user, and as root also
as an ordinary one. What this machine lacks is unpacked from Debian and kept.

  --nix <version>   Only this version (2.8, 2.26, 2.34 or own); may be repeated
  --after-npm-test  Leave out what npm test runs with this machine's Nix as this
                    user, elsewhere what hardly depends on the Nix, and an
                    ordinary user with other Nix than this machine's
  --fresh           Unpack the versions anew
  --help            This help
`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    nix: { type: "string", multiple: true, default: [] },
    "after-npm-test": { type: "boolean", default: false },
    fresh: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

const stopped = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => stopped.abort());

if (values.help) process.stdout.write(HELP);
else process.exitCode = await main();

async function main(): Promise<number> {
  await bundle();
  const files =
    positionals.length > 0 ? positionals : await nixTests({ short: values["after-npm-test"] });
  const rows: Row[] = [];
  for (const wanted of await wantedNixes()) {
    rows.push(...(await tryNix(wanted, files)));
    if (stopped.signal.aborted) return 130;
  }
  process.stdout.write(`\n${printTable(rows)}`);
  return rows.some(({ isFailure }) => isFailure) ? 1 : 0;
}

type Wanted = NixVersion | "own";

/** The machine's own Nix is one of its own only if its version is none of the others. */
async function wantedNixes(): Promise<readonly Wanted[]> {
  const unknown = values.nix.find((name) => name !== "own" && !isNixVersion(name));
  if (unknown !== undefined) throw new Error(`There is no --nix ${unknown}\n\n${HELP}`);
  const own = await ownNix();
  const isOther = own !== undefined && !NIX_VERSIONS.some((line) => hasVersion(own.version, line));
  const all: readonly Wanted[] = isOther ? [...NIX_VERSIONS, "own"] : NIX_VERSIONS;
  return values.nix.length > 0 ? all.filter((name) => values.nix.includes(name)) : all;
}

function isNixVersion(name: string): name is NixVersion {
  return NIX_VERSIONS.some((version) => version === name);
}

async function tryNix(wanted: Wanted, files: readonly string[]): Promise<Row[]> {
  const own = await ownNix();
  try {
    const onStep = say;
    const bin = wanted === "own" ? own?.bin : await nixBin(wanted, { fresh: values.fresh, onStep });
    if (bin === undefined) throw new Unavailable("There is no Nix on the PATH");
    const isOwn = bin === own?.bin;
    const nix = { bin, isOwn, name: `${await nixVersion(bin)}${isOwn ? " (this machine's)" : ""}` };
    const rows: Row[] = [];
    for (const user of users()) rows.push(await tryUser(nix, user, files));
    return rows;
  } catch (error) {
    if (stopped.signal.aborted) return [];
    const reason = error instanceof Error ? error.message.trim() : String(error);
    const isFailure = !(error instanceof Unavailable);
    say(`Nix ${wanted} cannot be tried: ${reason}`);
    return [{ nix: wanted, user: "", outcome: `not run: ${reason}`, isFailure }];
  }
}

interface Nix {
  readonly name: string;
  readonly bin: string;
  readonly isOwn: boolean;
}

async function tryUser(nix: Nix, user: User, files: readonly string[]): Promise<Row> {
  const row = { nix: nix.name, user: user.name, isFailure: false };
  if (values["after-npm-test"] && nix.isOwn && user.uid === undefined) {
    return { ...row, outcome: "not run: npm test does" };
  }
  if (values["after-npm-test"] && !nix.isOwn && user.uid !== undefined) {
    return {
      ...row,
      outcome: "not run: tried with this machine's Nix, and without --after-npm-test",
    };
  }
  const obstacle = await whyNot(nix.bin, user);
  if (obstacle !== undefined) return { ...row, outcome: `not run: ${obstacle}` };
  say(`Nix ${nix.name} as ${user.name}: ${files.length} test files`);
  const result = await runSuite({ bin: nix.bin, user, files, signal: stopped.signal });
  const { passed, failed, skipped, seconds } = result;
  say(`${passed} passed, ${failed} failed, ${skipped} skipped in ${seconds.toFixed(0)} s`);
  for (const skip of result.skips) process.stdout.write(`   skipped ${skip}\n`);
  process.stdout.write(result.failures);
  return { ...row, outcome: result, isFailure: failed > 0 };
}

function say(text: string): void {
  process.stdout.write(`── ${text}\n`);
}
