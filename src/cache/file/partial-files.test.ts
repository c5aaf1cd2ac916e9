import assert from "node:assert/strict";
import { mkdir, readdir } from "node:fs/promises";
import { describe, it } from "node:test";

import { tempDir } from "../../../test/temp.ts";
import { type FileCalls, threadCalls } from "../../files/file-calls.ts";
import { PartialFiles } from "./partial-files.ts";

describe("PartialFile.remove()", () => {
  it("removes the file even where the disk fails to close it", async () => {
    await using temp = await tempDir();
    const calls: FileCalls = {
      ...threadCalls,
      // As NFS does: the descriptor is closed, and what was written may be lost.
      async close(fd) {
        await threadCalls.close(fd);
        throw Object.assign(new Error("planted"), { code: "EIO" });
      },
    };
    const files = new PartialFiles(temp.dir, { calls });
    await mkdir(files.dir);
    const file = files.create("nar");
    await file.write(Buffer.from("half a NAR"), 0);
    assert.equal((await readdir(files.dir)).length, 1);
    await file.remove();
    assert.deepEqual(await readdir(files.dir), []);
  });
});
