import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";

import { sampleChain } from "../../../test/file-writer.ts";
import type { SampleUpload } from "../../../test/sample-upload.ts";
import { tempDir } from "../../../test/temp.ts";
import { hashPartOf } from "../../nix/store-path.ts";
import { narInfoName, narInfoOf } from "../binary-cache.ts";

const WRITER = new URL("../../../test/file-writer.ts", import.meta.url).pathname;

/** Where in the trace a system call came back. */
interface Traced {
  /** The first end of such a call, after `from`. */
  readonly ended: (call: string, from?: number) => number;
}

/** Reads what `strace -f -y` wrote; a call of one thread may end after those of others have begun. */
function readTrace(text: string, dir: string): Traced {
  const begun = new Map<string, string>();
  const ends: string[] = [];
  for (const line of text.split("\n")) {
    const [, thread = "", call = ""] = /^(\d+) +(.*)$/.exec(line) ?? [];
    if (call.includes("<unfinished ...>")) begun.set(thread, call);
    else ends.push(/ resumed>/.test(call) ? (begun.get(thread) ?? "") : call);
  }
  // File descriptors and the ends of temporary names differ each time.
  const plain = ends.map((call) =>
    call
      .replaceAll(dir, "DIR")
      .replace(/-[0-9a-f-]{36}/g, "")
      .replace(/\(\d+</, "(<"),
  );
  return {
    ended(call, from = 0) {
      const at = plain.findIndex((each, index) => index >= from && each.startsWith(call));
      assert.notEqual(at, -1, `${call} after line ${from} of\n${plain.join("\n")}`);
      return at;
    },
  };
}

/** Where files are written in threads, and where they are not. */
const PLACES = [
  ["a folder for temporary files", tmpdir()],
  ["memory", "/dev/shm"],
] as const;

describe("a path that is published", () => {
  for (const [place, parent] of PLACES) {
    it(`is durable in ${place} before its narinfo has its name, and its references are too`, async (t) => {
      if (!existsSync(parent)) return t.skip(`there is no ${parent}`);
      await using temp = await tempDir("hp-", parent);
      const dir = join(temp.dir, "cache");
      const trace = join(temp.dir, "trace");
      const calls = ["-f", "-qq", "-y", "-e", "trace=fsync,rename", "-o", trace];
      const program = [process.execPath, WRITER, dir, "4"];
      const { status, error } = spawnSync("strace", [...calls, ...program], { stdio: "ignore" });
      if (error !== undefined || status !== 0) return t.skip("there is no strace that works here");
      assertDurable(readTrace(await readFile(trace, "utf8"), dir));
    });
  }
});

function assertDurable({ ended }: Traced): void {
  let referencesAreDurable = 0;
  for (const sample of sampleChain(4)) {
    const [nar, narInfo] = [narRename(sample), narInfoRename(sample)];
    const hash = hashPartOf(sample.storePath);
    const narIsNamed = ended(nar);
    const narInfoIsNamed = ended(narInfo);
    assert.ok(fsyncOf(ended, `DIR/nar/.partial/${hash}`) < narIsNamed);
    assert.ok(fsyncOf(ended, "DIR/nar", narIsNamed) < narInfoIsNamed);
    assert.ok(fsyncOf(ended, `DIR/.partial/${hash}`) < narInfoIsNamed);
    assert.ok(referencesAreDurable < narInfoIsNamed);
    referencesAreDurable = fsyncOf(ended, "DIR", narInfoIsNamed);
  }
}

function narRename({ request, packed, storePath }: SampleUpload): string {
  const { url } = narInfoOf(request, packed);
  return `rename("DIR/nar/.partial/${hashPartOf(storePath)}", "DIR/${url}"`;
}

function narInfoRename({ storePath }: SampleUpload): string {
  const hash = hashPartOf(storePath);
  return `rename("DIR/.partial/${hash}", "DIR/${narInfoName(hash)}"`;
}

function fsyncOf(ended: Traced["ended"], file: string, from = 0): number {
  return ended(`fsync(<${file}>`, from);
}
