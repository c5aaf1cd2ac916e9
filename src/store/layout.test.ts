import assert from "node:assert/strict";
import { mkdir, realpath, symlink, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { describe, it } from "node:test";
import { tempDir } from "../../test/temp.ts";
import { fromBaseName, type StorePath } from "../nix/store-path.ts";
import { physicalPathOf, resolveInStore, type StoreLayout } from "./layout.ts";

interface Sample extends AsyncDisposable {
  readonly dir: string;
  readonly layout: StoreLayout;
  /** A folder with `bin/tool` in it. */
  readonly folder: StorePath;
  /** A store path that is a link to {@link folder}. */
  readonly link: StorePath;
}

async function sampleStore(storeDir?: string): Promise<Sample> {
  const temp = await tempDir();
  const dir = await realpath(temp.dir);
  const realStoreDir = join(dir, "store");
  const layout = {
    storeDir: storeDir ?? realStoreDir,
    realStoreDir,
    stateDir: join(dir, "var"),
    logDir: join(dir, "log"),
  };
  const folder = fromBaseName(`${"0".repeat(32)}-folder`, layout.storeDir);
  const link = fromBaseName(`${"1".repeat(32)}-link`, layout.storeDir);
  await mkdir(join(physicalPathOf(layout, folder), "bin"), { recursive: true });
  await writeFile(join(physicalPathOf(layout, folder), "bin/tool"), "");
  await symlink(folder, physicalPathOf(layout, link));
  return { dir, layout, folder, link, [Symbol.asyncDispose]: () => temp[Symbol.asyncDispose]() };
}

for (const storeDir of [undefined, "/nix/store"]) {
  const where = storeDir === undefined ? "an ordinary store" : "a chroot store";

  describe(`resolveInStore() in ${where}`, () => {
    it("cuts to the store path", async () => {
      await using sample = await sampleStore(storeDir);
      const { folder, layout } = sample;
      assert.equal(await resolveInStore(layout, folder), folder);
      assert.equal(await resolveInStore(layout, `${folder}/bin/tool`), folder);
      assert.equal(await resolveInStore(layout, physicalPathOf(layout, folder)), folder);
    });

    it("follows links that lead to the store", async () => {
      await using sample = await sampleStore(storeDir);
      const { dir, folder, layout } = sample;
      await symlink(`${folder}/bin`, join(dir, "profile-1-link"));
      await symlink("profile-1-link", join(dir, "profile"));
      await symlink(dir, join(dir, "here"));
      assert.equal(await resolveInStore(layout, join(dir, "profile")), folder);
      assert.equal(await resolveInStore(layout, join(dir, "here/here/profile/tool")), folder);
      const fromHere = relative(process.cwd(), join(dir, "here/profile"));
      assert.equal(await resolveInStore(layout, fromHere), folder);
    });

    it("does not follow a store path that is a link", async () => {
      await using sample = await sampleStore(storeDir);
      const { dir, layout, link } = sample;
      await symlink(link, join(dir, "result"));
      assert.equal(await resolveInStore(layout, link), link);
      assert.equal(await resolveInStore(layout, join(dir, "result")), link);
    });

    it("refuses what is not in the store", async () => {
      await using sample = await sampleStore(storeDir);
      const { dir, layout } = sample;
      await symlink("loop", join(dir, "loop"));
      await symlink("nowhere", join(dir, "dangling"));
      await symlink(fromBaseName(`${"2".repeat(32)}-gone`, layout.storeDir), join(dir, "gone"));
      const names = ["", "etc", "loop", "dangling", "gone", "store", "store/.links", "store/x"];
      for (const name of names) {
        await assert.rejects(resolveInStore(layout, join(dir, name)), {
          code: "NOT_A_STORE_PATH",
        });
      }
    });
  });
}
