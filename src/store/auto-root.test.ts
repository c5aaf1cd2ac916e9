import assert from "node:assert/strict";
import { chmod, mkdir, readdir, readlink, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";

import { asOrdinaryUser } from "../../test/ordinary-user.ts";
import { tempDir } from "../../test/temp.ts";
import { addAutoRoot } from "./auto-root.ts";
import type { StoreLayout } from "./layout.ts";

function layoutIn(dir: string): StoreLayout {
  return { storeDir: "/nix/store", realStoreDir: "/nix/store", stateDir: dir, logDir: dir };
}

describe("addAutoRoot()", () => {
  it("makes the link that Nix makes, once", async () => {
    await using temp = await tempDir();
    const layout = layoutIn(temp.dir);
    for (let turn = 0; turn < 2; turn += 1) assert.ok(await addAutoRoot(layout, "/tmp/a-link"));
    const [name = "", ...others] = await readdir(join(temp.dir, "gcroots/auto"));
    assert.deepEqual(others, []);
    assert.match(name, /^[0-9a-z]{32}$/);
    assert.equal(await readlink(join(temp.dir, "gcroots/auto", name)), "/tmp/a-link");
  });

  it("corrects a link of that name that leads elsewhere", async () => {
    await using temp = await tempDir();
    const layout = layoutIn(temp.dir);
    await addAutoRoot(layout, "/tmp/a-link");
    const [name = ""] = await readdir(join(temp.dir, "gcroots/auto"));
    const file = join(temp.dir, "gcroots/auto", name);
    await rm(file);
    await symlink("/tmp/another", file);
    assert.ok(await addAutoRoot(layout, "/tmp/a-link"));
    assert.equal(await readlink(file), "/tmp/a-link");
  });

  it("says so where it may not", async () => {
    await using temp = await tempDir();
    await chmod(temp.dir, 0o755);
    await mkdir(join(temp.dir, "gcroots/auto"), { recursive: true });
    await chmod(join(temp.dir, "gcroots/auto"), 0o555);
    const isMade = await asOrdinaryUser(() => addAutoRoot(layoutIn(temp.dir), "/tmp/a-link"));
    assert.equal(isMade, false);
  });

  it("fails where something is in the way", async () => {
    await using temp = await tempDir();
    await writeFile(join(temp.dir, "gcroots"), "");
    await assert.rejects(addAutoRoot(layoutIn(temp.dir), "/tmp/a-link"), {
      code: "STORE_FAILED",
    });
  });
});
