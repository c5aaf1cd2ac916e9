import assert from "node:assert/strict";
import { constants, statfsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";

import { tempDir } from "../../test/temp.ts";
import { callsIn, type FileCalls, isInMemory, threadCalls } from "./file-calls.ts";

const MEMORY = "/dev/shm";
const TMPFS = 0x0102_1994;

/** Returns true, and skips the test, where the folder is no tmpfs. */
function isElsewhere(t: TestContext): boolean {
  try {
    if (statfsSync(MEMORY).type === TMPFS) return false;
  } catch {
    // There is no such folder but on Linux.
  }
  t.skip(`${MEMORY} is no tmpfs here`);
  return true;
}

/** Writes a file in two pieces, the last first, and names it. */
async function assertWrites(calls: FileCalls, parent: string): Promise<void> {
  await using temp = await tempDir("hp-", parent);
  const file = join(temp.dir, "part");
  const fd = await calls.open(file, constants.O_WRONLY | constants.O_CREAT, 0o600);
  await calls.writeAll(fd, Buffer.from("world"), 6);
  await calls.writeAll(fd, Buffer.from("hello "), 0);
  await calls.sync(fd);
  await calls.close(fd);
  await calls.rename(file, join(temp.dir, "whole"));
  assert.deepEqual(await readdir(temp.dir), ["whole"]);
  assert.equal(await readFile(join(temp.dir, "whole"), "utf8"), "hello world");
}

describe("callsIn()", () => {
  it("writes in threads what may wait for a disk", async () => {
    await assertWrites(threadCalls, tmpdir());
  });

  it("writes in this thread what is in memory, and nothing else", async (t) => {
    if (isElsewhere(t)) return;
    const calls = await callsIn([MEMORY, MEMORY]);
    assert.notEqual(calls, threadCalls);
    await assertWrites(calls, MEMORY);
    assert.equal(await isInMemory("/proc"), false);
    assert.equal(await callsIn([MEMORY, "/proc"]), threadCalls);
  });
});
