import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { watch } from "node:fs";
import { mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { BUNDLE, handpick, resultOf, startHandpick } from "../handpick.ts";
import { createTestNix, type TestNix } from "../nix.ts";

const SECRET_KEY = /^mine-1:[0-9A-Za-z+/]{86}==\n$/;

describe("handpick keygen, interrupted", { timeout: 60_000 }, () => {
  let nix: TestNix;
  let count = 0;
  before(async () => {
    nix = await createTestNix();
  });
  after(() => nix[Symbol.asyncDispose]());

  async function emptyFolder(): Promise<string> {
    const folder = join(nix.dir, `keys-${(count += 1)}`);
    await mkdir(folder);
    return folder;
  }

  it("leaves no file where it cannot write it, so that it can be run again", async () => {
    const folder = await emptyFolder();
    // The file in which Node would note coverage could not be written either.
    const line = `unset NODE_V8_COVERAGE; ulimit -f 0; exec '${process.execPath}' '${BUNDLE}' keygen mine-1 --out key.sec`;
    const child = spawn("sh", ["-c", line], { cwd: folder, env: nix.env });
    const { status, stderr } = await resultOf(child);
    assert.deepEqual([status, /FILE_UNUSABLE/.test(stderr)], [2, true], stderr);
    assert.deepEqual(await readdir(folder), []);
    const again = await handpick(nix, ["keygen", "mine-1", "--out", join(folder, "key.sec")]);
    assert.equal(again.status, 0, again.stderr);
  });

  it("leaves a whole key or none when it is killed as soon as it writes", async () => {
    for (let round = 0; round < 5; round += 1) {
      const folder = await emptyFolder();
      const file = join(folder, "key.sec");
      const args = ["keygen", "mine-1", "--out", file];
      const watcher = watch(folder);
      const child = startHandpick(nix, args, { uncovered: true });
      const ended = once(child, "exit");
      await Promise.race([once(watcher, "change"), ended]);
      child.kill("SIGKILL");
      await ended;
      watcher.close();
      if (!(await readdir(folder)).includes("key.sec")) {
        const again = await handpick(nix, args);
        assert.equal(again.status, 0, again.stderr);
      }
      assert.match(await readFile(file, "utf8"), SECRET_KEY);
    }
  });
});
