import assert from "node:assert/strict";
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";

import { tempDir } from "../../test/temp.ts";
import { writeWhole } from "./write-whole.ts";

describe("writeWhole()", () => {
  it("writes and replaces a file that only its owner may read", async () => {
    await using temp = await tempDir();
    const file = join(temp.dir, "key");
    for (const isDurable of [false, true]) {
      await writeWhole(file, `text ${isDurable}`, { isDurable });
      assert.equal(await readFile(file, "utf8"), `text ${isDurable}`);
    }
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    assert.deepEqual(await readdir(temp.dir), ["key"]);
  });

  it("leaves a file that exists alone where it may replace none, and nothing beside it", async () => {
    await using temp = await tempDir();
    const file = join(temp.dir, "key");
    await writeFile(file, "old");
    await assert.rejects(writeWhole(file, "new", { replaces: false }), { code: "EEXIST" });
    assert.equal(await readFile(file, "utf8"), "old");
    assert.deepEqual(await readdir(temp.dir), ["key"]);
  });

  it("leaves nothing where the name cannot be taken", async () => {
    await using temp = await tempDir();
    const tmpDir = join(temp.dir, "tmp");
    const file = join(temp.dir, "folder");
    await mkdir(tmpDir);
    await mkdir(file);
    await assert.rejects(writeWhole(file, "text", { tmpDir }), { code: "EISDIR" });
    assert.deepEqual(await readdir(tmpDir), []);
  });
});
