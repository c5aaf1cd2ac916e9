import assert from "node:assert/strict";
import { mkdir, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";

import { tempDir } from "../../../test/temp.ts";
import type { Companion } from "../contract.ts";
import { createFileCache } from "./file-cache.ts";

const { signal } = new AbortController();

function companion(name: string): Companion {
  return { name, contentType: "text/plain", bytes: new TextEncoder().encode("ours") };
}

async function put(dir: string, name: string): Promise<void> {
  await using cache = createFileCache({ name: "usb", dir });
  await cache.companions?.put(companion(name), signal);
}

describe("the small files of a folder", () => {
  it("have their names once they are put, and leave nothing that is not whole", async () => {
    await using temp = await tempDir();
    const dir = join(temp.dir, "cache");
    for (const name of ["hash.ls", "log/x.drv", "realisations/sha256:0!out.doi"]) {
      await put(dir, name);
      assert.equal(await readFile(join(dir, name), "utf8"), "ours");
    }
    assert.deepEqual(await readdir(join(dir, ".partial")), []);
  });

  it("are written nowhere else by links in it", async () => {
    await using temp = await tempDir();
    const [dir, outside] = [join(temp.dir, "cache"), join(temp.dir, "outside")];
    await mkdir(outside);
    await mkdir(dir);
    await symlink(outside, join(dir, "log"));
    const expected = { code: "CACHE_NOT_FOUND", message: /it is a link$/ };
    await assert.rejects(put(dir, "log/x.drv"), expected);
    assert.deepEqual(await readdir(outside), []);
    await rm(join(dir, "log"));
    await mkdir(join(dir, "log"));
    await writeFile(join(outside, "precious"), "theirs");
    await symlink(join(outside, "precious"), join(dir, "log/x.drv"));
    await put(dir, "log/x.drv");
    assert.equal(await readFile(join(outside, "precious"), "utf8"), "theirs");
    assert.equal(await readFile(join(dir, "log/x.drv"), "utf8"), "ours");
  });

  it("say that a folder has the name of one", async () => {
    await using temp = await tempDir();
    const dir = join(temp.dir, "cache");
    await mkdir(join(dir, "hash.ls/x"), { recursive: true });
    await assert.rejects(put(dir, "hash.ls"), { code: "UPLOAD_REJECTED", message: /its name/ });
    assert.deepEqual(await readdir(join(dir, ".partial")), []);
  });
});
