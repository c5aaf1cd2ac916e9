import assert from "node:assert/strict";
import { chmod, mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";

import { asOrdinaryUser } from "../../test/ordinary-user.ts";
import { tempDir } from "../../test/temp.ts";
import { stateFolder } from "./state-folder.ts";
import { readWanted } from "./wanted.ts";

describe("readWanted()", () => {
  it("reads links by name, and names what stands in their place", async () => {
    await using temp = await tempDir();
    const { wanted } = stateFolder(temp.dir);
    assert.deepEqual(await readWanted(stateFolder(temp.dir)), []);
    await mkdir(join(wanted, "folder"), { recursive: true });
    await writeFile(join(wanted, "file"), "");
    await symlink("/nowhere", join(wanted, "b"));
    const path = join(temp.dir, `${"0".repeat(32)}-a.json`);
    await symlink("/nowhere", path);
    await symlink(path, join(wanted, "a"));
    await symlink("/", join(wanted, "c"));
    await symlink("/", join(wanted, ".hidden"));
    assert.deepEqual(await readWanted(stateFolder(temp.dir)), [
      { name: "a", target: path, leadsSomewhere: true },
      { name: "b", target: "/nowhere", leadsSomewhere: false },
      { name: "c", target: "/", leadsSomewhere: false },
      { name: "file", target: join(wanted, "file"), leadsSomewhere: false },
    ]);
  });

  it("takes no selection for withdrawn that it may not read", async () => {
    await using temp = await tempDir();
    const { wanted } = stateFolder(temp.dir);
    await mkdir(wanted);
    await symlink("/", join(wanted, "a"));
    await chmod(temp.dir, 0o755);
    await chmod(wanted, 0o444);
    await asOrdinaryUser(() =>
      assert.rejects(readWanted(stateFolder(temp.dir)), { code: "FILE_UNUSABLE" }),
    );
    await chmod(wanted, 0o755);
  });
});
