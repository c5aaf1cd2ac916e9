import assert from "node:assert/strict";
import {
  chmod,
  chown,
  mkdir,
  readdir,
  readFile,
  rename,
  symlink,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";

import { asOrdinaryUser, NOBODY } from "../../test/ordinary-user.ts";
import { tempDir } from "../../test/temp.ts";
import {
  countBuilds,
  emptySpool,
  hasNews,
  readBuilds,
  readBuildsIn,
  removeBuilds,
  takeMarks,
} from "./spool.ts";
import { PassedOver } from "./passed-over.ts";
import { makeStateFolder, stateFolder } from "./state-folder.ts";

describe("emptySpool()", () => {
  it("moves news into the queue, keeps what is being written, and removes the rest", async () => {
    await using temp = await tempDir();
    const folder = stateFolder(temp.dir);
    await makeStateFolder(folder);
    for (const name of ["wanted-home", "built-1", ".built-2", "rubbish"]) {
      await writeFile(join(folder.spool, name), name);
    }
    await mkdir(join(folder.spool, "built-folder/deep"), { recursive: true });
    await symlink("/etc/passwd", join(folder.spool, "built-link"));
    const passedOver = new PassedOver();
    await emptySpool(folder, passedOver);
    assert.deepEqual(await readdir(folder.spool), [".built-2"]);
    const [, aside = ""] = / kept as (.*)$/.exec(passedOver.takeNotes().join("\n")) ?? [];
    assert.deepEqual(await readdir(aside), ["deep"], "folders are kept");
    await emptySpool(folder, passedOver);
    assert.deepEqual(passedOver.takeNotes(), [], "and told once");
    assert.deepEqual((await readdir(folder.queue)).toSorted(), ["built-1", "wanted-home"]);
    assert.equal(await readFile(join(folder.queue, "built-1"), "utf8"), "built-1");
  });

  it("gets a folder of root's out of the way that it may not write in", async (t) => {
    if (process.getuid?.() !== 0) return t.skip("only root can leave one");
    await using temp = await tempDir();
    const folder = stateFolder(temp.dir);
    await makeStateFolder(folder);
    for (const dir of [folder.dir, folder.spool, folder.queue]) await chown(dir, NOBODY, NOBODY);
    await mkdir(join(folder.spool, "built-roots/deep"), { recursive: true });
    const passedOver = new PassedOver();
    await asOrdinaryUser(() => emptySpool(folder, passedOver));
    const [aside = "", ...others] = await readdir(folder.spool);
    assert.deepEqual(others, []);
    assert.match(aside, /^\.folder-/, "a hidden name starts no sync");
    assert.equal(passedOver.takeNotes().length, 1);
  });

  it("makes nothing where there is nothing, and replaces what tells the same", async () => {
    await using temp = await tempDir();
    const folder = stateFolder(join(temp.dir, "state"));
    await emptySpool(folder);
    assert.deepEqual([await readdir(temp.dir), await hasNews(folder)], [[], false]);
    await makeStateFolder(folder);
    for (let left = 2; left > 0; left -= 1) {
      await writeFile(join(folder.spool, "wanted-home"), "");
      await emptySpool(folder);
    }
    assert.deepEqual([await readdir(folder.queue), await hasNews(folder)], [["wanted-home"], true]);
    await takeMarks(folder);
    assert.equal(await hasNews(folder), false);
  });

  it("loses nothing where many empty it at once while more comes", async () => {
    await using temp = await tempDir();
    const folder = stateFolder(temp.dir);
    await makeStateFolder(folder);
    const left = Array.from({ length: 50 }, async (_, index) => {
      const hidden = join(folder.spool, `.built-${index}`);
      await writeFile(hidden, `${index}\n`);
      await rename(hidden, join(folder.spool, `built-${index}`));
      await emptySpool(folder);
    });
    await Promise.all(left);
    assert.deepEqual(await readdir(folder.spool), []);
    assert.equal(await countBuilds(folder), 50);
    const builds = await readBuildsIn(folder.queue);
    const numbers = builds.map(({ derivation }) => Number(derivation)).toSorted((a, b) => a - b);
    assert.deepEqual(numbers, [...Array.from({ length: 50 }).keys()]);
    await removeBuilds(folder, builds);
    assert.equal(await hasNews(folder), false);
  });

  it("hands out any number of builds some at a time, of which none keeps back another", async () => {
    await using temp = await tempDir();
    const folder = stateFolder(temp.dir);
    await makeStateFolder(folder);
    for (let index = 0; index < 600; index += 1) {
      await writeFile(join(folder.queue, `built-${index}`), `${index}\n/out\n`);
    }
    await chmod(join(folder.queue, "built-7"), 0);
    let count = 0;
    for await (const builds of readBuilds(folder)) {
      assert.ok(builds.length <= 64);
      count += builds.length;
      await removeBuilds(folder, builds);
    }
    assert.deepEqual([count, await readdir(folder.queue)], [600, []]);
  });

  it("tells where the folder cannot be used", async () => {
    await using temp = await tempDir();
    await writeFile(join(temp.dir, "spool"), "");
    await assert.rejects(emptySpool(stateFolder(temp.dir)), { code: "FILE_UNUSABLE" });
  });
});
