import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { describe, it } from "node:test";

import { fromBaseName, type StorePath } from "../nix/store-path.ts";
import { holdNamed } from "./hold-named.ts";

const LONG_NAME = "n".repeat(200);

function samplePaths(count: number): StorePath[] {
  return Array.from({ length: count }, (_, index) =>
    fromBaseName(`${String(index).padStart(32, "0")}-${LONG_NAME}`),
  );
}

/** The store paths that a collector finds in the environments of our children, by process. */
async function namedPaths(): Promise<string[][]> {
  const found: string[][] = [];
  for (const pid of await readdir("/proc")) {
    const parent = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
    if (!parent.includes(` ${process.pid} `)) continue;
    const environment = await readFile(`/proc/${pid}/environ`, "latin1").catch(() => "");
    const names = environment.match(/\/nix\/store\/[0-9a-z]{32}-n{200}/g);
    if (names !== null && Number(pid) !== process.pid) found.push(names);
  }
  return found;
}

describe("holdNamed()", { skip: process.platform === "linux" ? false : "it reads /proc" }, () => {
  it("names all paths in processes that end with it", async () => {
    const paths = samplePaths(10_000);
    {
      await using _hold = await holdNamed(paths);
      const named = await namedPaths();
      assert.deepEqual(named.flat().toSorted(), paths);
      assert.ok(named.length > 1, "more than one environment takes");
    }
    assert.deepEqual(await namedPaths(), []);
  });

  it("starts nothing where there is nothing to hold", async () => {
    await using _hold = await holdNamed([]);
    assert.deepEqual(await namedPaths(), []);
  });
});
