import assert from "node:assert/strict";
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { access, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { sampleChain, writeChain } from "../../../test/file-writer.ts";
import { tempDir } from "../../../test/temp.ts";
import { sha256FromDigest } from "../../nix/hash.ts";
import { parseNarInfo } from "../../nix/narinfo.ts";
import { hashPartOf } from "../../nix/store-path.ts";
import { narInfoName } from "../binary-cache.ts";

const WRITER = new URL("../../../test/file-writer.ts", import.meta.url).pathname;
const LENGTH = 60;
const NARINFO = /^[0-9a-z]{32}\.narinfo$/;
const NAR = /^[0-9a-z]{52}\.nar\.zst$/;

/** Starts a process that writes the chain; resolves when it begins. */
async function startWriter(dir: string): Promise<ChildProcessByStdio<null, Readable, null>> {
  const child = spawn(process.execPath, [WRITER, dir, `${LENGTH}`], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(child.stdout, "data");
  return child;
}

/** Checks that readers get whole paths with all their references, whatever else is there; returns how many. */
async function checkWhole(dir: string): Promise<number> {
  const names = await readdir(dir);
  const narInfos = names.filter((name) => NARINFO.test(name));
  for (const name of narInfos) {
    const narInfo = parseNarInfo(await readFile(join(dir, name), "utf8"));
    const nar = await readFile(join(dir, narInfo.url));
    const hash = sha256FromDigest(createHash("sha256").update(nar).digest());
    assert.equal(hash, narInfo.fileHash);
    for (const reference of narInfo.references) {
      // Not by the list: a folder that changes is listed as it never was.
      await access(join(dir, narInfoName(hashPartOf(reference))));
    }
  }
  return narInfos.length;
}

/** Files that are neither Nix's nor whole. */
async function strangeFiles(dir: string): Promise<string[]> {
  const known = new Set([".partial", "log", "nar", "nix-cache-info", "realisations"]);
  const root = (await readdir(dir)).filter((name) => !known.has(name) && !NARINFO.test(name));
  const nars = await readdir(join(dir, "nar"));
  return [...root, ...nars.filter((name) => name !== ".partial" && !NAR.test(name))];
}

async function partialFiles(dir: string): Promise<number> {
  const folders = [join(dir, ".partial"), join(dir, "nar/.partial")];
  const found = await Promise.all(folders.map((folder) => readdir(folder)));
  return found.flat().length;
}

describe("several writers of one folder", () => {
  it("write the same paths at once, each whole", async () => {
    await using temp = await tempDir();
    const dir = join(temp.dir, "cache");
    const writers = await Promise.all([startWriter(dir), startWriter(dir), startWriter(dir)]);
    const exits = Promise.all(writers.map((child) => once(child, "close")));
    const over = new AbortController();
    const watched = (async () => {
      while (!over.signal.aborted) {
        if ((await readdir(temp.dir)).length > 0) await checkWhole(dir);
        await sleep(5);
      }
    })();
    assert.deepEqual(await exits, [
      [0, null],
      [0, null],
      [0, null],
    ]);
    over.abort();
    await watched;
    assert.equal(await checkWhole(dir), LENGTH);
    assert.deepEqual(await strangeFiles(dir), []);
    assert.equal(await partialFiles(dir), 0);
  });

  it("leave a sound cache when they are killed, which the next completes", async () => {
    await using temp = await tempDir();
    let killed = 0;
    for (const delayMs of [0, 3, 6, 10, 15, 25, 40, 70]) {
      const dir = join(temp.dir, `cache-${delayMs}`);
      const child = await startWriter(dir);
      await sleep(delayMs);
      child.kill("SIGKILL");
      await once(child, "close");
      if (child.signalCode === "SIGKILL") killed += 1;
      if ((await readdir(temp.dir)).includes(`cache-${delayMs}`)) {
        await checkWhole(dir).catch((error: unknown) => {
          throw new Error(`Killed after ${delayMs} ms`, { cause: error });
        });
      }
      await writeChain(dir, sampleChain(LENGTH));
      assert.equal(await checkWhole(dir), LENGTH);
      assert.deepEqual(await strangeFiles(dir), []);
    }
    assert.ok(killed > 0, "each ended before it was killed");
  });
});
