import assert from "node:assert/strict";
import { mkdir, readdir, readlink, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";

import { tempDir } from "../../test/temp.ts";
import { baseNameOf, parseStorePath } from "../nix/store-path.ts";
import { PassedOver } from "./passed-over.ts";
import { keepRoots } from "./roots.ts";
import { makeStateFolder, stateFolder } from "./state-folder.ts";

const A = parseStorePath("/nix/store/0c9v5ms8ag5fl2ll07lmdlg1ayqpyz6i-a");
const B = parseStorePath("/nix/store/7k3i624w0rfrvcrbbdrw0zrvasywxmz4-b");

describe("keepRoots()", () => {
  it("makes the links, and sets aside what is in their way", async () => {
    await using temp = await tempDir();
    const folder = stateFolder(temp.dir);
    await makeStateFolder(folder);
    await mkdir(join(folder.roots, baseNameOf(A), "deep"), { recursive: true });
    await mkdir(join(folder.roots, "x"));
    await symlink("/etc", join(folder.roots, baseNameOf(B)));
    await writeFile(join(folder.roots, "rubbish"), "");
    await symlink(A, Buffer.from(`${folder.roots}/\xff`, "latin1"));
    const registered: string[] = [];
    const register = async (link: string): Promise<boolean> => registered.push(link) > 0;
    const passedOver = new PassedOver();
    assert.equal(await keepRoots(folder, new Set([A, B]), { register, passedOver }), true);
    assert.deepEqual((await readdir(folder.roots)).toSorted(), [A, B].map(baseNameOf).toSorted());
    assert.equal(await readlink(join(folder.roots, baseNameOf(B))), B);
    assert.deepEqual(
      registered.toSorted(),
      [A, B].map((path) => join(folder.roots, baseNameOf(path))).toSorted(),
    );
    const kept = passedOver.takeNotes().map((note) => / kept as (.*)$/.exec(note)?.[1] ?? "");
    assert.equal(kept.length, 2);
    assert.ok((await Promise.all(kept.map((one) => readdir(one)))).flat().includes("deep"));
  });

  it("makes the folder again that was removed meanwhile", async () => {
    await using temp = await tempDir();
    const folder = stateFolder(temp.dir);
    await makeStateFolder(folder);
    const options = { register: async () => true, passedOver: new PassedOver() };
    await rm(folder.roots, { recursive: true });
    assert.ok(await keepRoots(folder, new Set([A]), options));
    await rm(folder.roots, { recursive: true });
    assert.ok(await keepRoots(folder, new Set(), options));
  });
});
