import { globSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";

import { ROOT } from "./command.ts";

const TEST_NIX = resolve(ROOT, "test/nix.ts");
/** What a file loads when it runs: `import type` is gone by then. */
const IMPORTS = /^(?:import|export) (?!type\b)[^;]*?from "(\.[^"]+)"|\bimport\("(\.[^"]+)"\)/gm;
/** How a test starts a program of Nix without a throw-away Nix. */
const STARTS_NIX = /\("nix(?:-[a-z]+)?", \[/;

/**
 * Tests that take long and play chance, servers or start scripts: a Nix gives them store paths, and does
 * nothing that its version could change.
 */
const OF_ANY_NIX =
  /^test\/(?:campaign\/|crash\/(?:keygen|kill|show-all)|faults\/|kinds|start-script|bad-input-server|sync\/(?:kill|turning))/;

/**
 * Tests of what users type, of our own files, of the loop of `sync` and of output, and of kinds of caches that Nix
 * reads in tests beside their sources: one Nix is as good as another for nearly all of them.
 */
const OF_NEARLY_ANY_NIX =
  /^(?:src\/(?:push\/(?:pack-pool|push-paths)|nix\/nix\.fuzz|run\/|suggest\/)|test\/(?:bad-input-(?:config|machine)|built-manifests|(?:file|http|s3|push|suggest|why|prune)\.e2e|hook\/shells|inputs|live\/(?:exec-hooks|exec-signals|watch)|modules\/systemd|install|push-ends|readme|rules|secrets|state-folder|terminal|trust|sync\/(?!builds|picked)))/;

export interface Choice {
  /** Leaves out what nearly any Nix serves as well as another. */
  readonly short?: boolean;
}

/** The test files to run with every Nix: those that load `test/nix.ts`, however far down, or start Nix. */
export async function nixTests({ short = false }: Choice = {}): Promise<string[]> {
  const tests = globSync(["src/**/*.test.ts", "test/**/*.test.ts"], { cwd: ROOT }).toSorted();
  const found: string[] = [];
  for (const test of tests) {
    if (OF_ANY_NIX.test(test) || (short && OF_NEARLY_ANY_NIX.test(test))) continue;
    if (await runsNix(resolve(ROOT, test))) found.push(test);
  }
  return found;
}

async function runsNix(test: string): Promise<boolean> {
  if (STARTS_NIX.test(await readFile(test, "utf8"))) return true;
  const loaded = new Set([test]);
  for (const file of loaded) for (const other of await importsOf(file)) loaded.add(other);
  return loaded.has(TEST_NIX);
}

async function importsOf(file: string): Promise<string[]> {
  const text = await readFile(file, "utf8");
  return Array.from(text.matchAll(IMPORTS), ([, name = "", dynamic]) =>
    resolve(dirname(file), dynamic ?? name),
  );
}
