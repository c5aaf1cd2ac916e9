import { globSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";

import { ROOT } from "./command.ts";

const TEST_NIX = resolve(ROOT, "test/nix.ts");
/** What a file loads when it runs: `import type` is gone by then. */
const IMPORTS = /^(?:import|export) (?!type\b)[^;]*?from "(\.[^"]+)"|\bimport\("(\.[^"]+)"\)/gm;
/** How a test starts a program of Nix without a throw-away Nix. */
const STARTS_NIX = /\("nix(?:-[a-z]+)?", \[/;

/** The test files that run Nix: those that load `test/nix.ts`, however far down, or start it themselves. */
export async function nixTests(): Promise<string[]> {
  const tests = globSync(["src/**/*.test.ts", "test/**/*.test.ts"], { cwd: ROOT }).toSorted();
  const found: string[] = [];
  for (const test of tests) if (await runsNix(resolve(ROOT, test))) found.push(test);
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
