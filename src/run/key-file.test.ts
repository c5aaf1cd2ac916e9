import assert from "node:assert/strict";
import { readdir, readFile, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";

import { tempDir } from "../../test/temp.ts";
import { printSecretKey } from "../nix/key.ts";
import { makeKeyFile, readKeyFile } from "./key-file.ts";

describe("makeKeyFile()", () => {
  it("writes a key that only its owner may read, in a folder of its owner's alone", async () => {
    await using temp = await tempDir();
    const file = join(temp.dir, "keys/mine.sec");
    const secret = await makeKeyFile(file, "mine-1");
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    assert.equal((await stat(dirname(file))).mode & 0o777, 0o700);
    assert.equal(await readFile(file, "utf8"), `${printSecretKey(secret, "nix")}\n`);
    const read = await readKeyFile(file, "another");
    assert.deepEqual(read?.reveal(), secret.reveal());
    assert.deepEqual(await readdir(dirname(file)), ["mine.sec"]);
  });

  it("replaces no file, and leaves none beside it", async () => {
    await using temp = await tempDir();
    const file = join(temp.dir, "mine.sec");
    await makeKeyFile(file, "mine-1");
    const before = await readFile(file, "utf8");
    await assert.rejects(makeKeyFile(file, "mine-1"), {
      code: "FILE_UNUSABLE",
      message: /: the file exists$/,
    });
    assert.equal(await readFile(file, "utf8"), before);
    assert.deepEqual(await readdir(temp.dir), ["mine.sec"]);
  });
});

describe("readKeyFile()", () => {
  it("gives nothing where there is no file", async () => {
    await using temp = await tempDir();
    assert.equal(await readKeyFile(join(temp.dir, "none"), "mine-1"), undefined);
  });
});
