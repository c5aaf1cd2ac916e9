import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmod, chown, link, mkdir, rm, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";

import { asOrdinaryUser, NOBODY } from "../../test/ordinary-user.ts";
import { tempDir } from "../../test/temp.ts";
import { readNotice } from "./notice.ts";
import { makeStateFolder, stateFolder, type StateFolder } from "./state-folder.ts";
import { assertOwnState, type Purpose } from "./state-trust.ts";
import { readWanted } from "./wanted.ts";

const isRoot = process.getuid?.() === 0;
const needsRoot = isRoot ? false : "only root can give files to others";

async function withFolder(task: (folder: StateFolder) => Promise<void>): Promise<void> {
  await using temp = await tempDir();
  await chmod(temp.dir, 0o755);
  const folder = stateFolder(join(temp.dir, "state"));
  await makeStateFolder(folder);
  await task(folder);
}

async function refused(
  { dir }: StateFolder,
  message: RegExp,
  { hint = /./, purpose = "act" }: { readonly hint?: RegExp; readonly purpose?: Purpose } = {},
): Promise<void> {
  const error = { code: "FILE_UNUSABLE", message, hint };
  await assert.rejects(assertOwnState(dir, purpose), error);
}

describe("assertOwnState()", () => {
  it("takes a folder of ours, one that is not there, and a link to it", () =>
    withFolder(async ({ dir }) => {
      await assertOwnState(dir, "act");
      await assertOwnState(join(dir, "missing"), "act");
      await symlink(dir, `${dir}-link`);
      await assertOwnState(`${dir}-link`, "act");
      await rm(`${dir}-link`);
    }));

  it("refuses a folder that others may write in, but for one where only owners remove", () =>
    withFolder(async (folder) => {
      const { uid, gid } = await stat(folder.dir);
      const byGroup = uid === 0 || uid !== gid ? [0o770, 0o2770] : [];
      for (const mode of [0o777, 0o707, ...byGroup]) {
        await chmod(folder.dir, mode);
        const found = new RegExp(
          `that only its owner may write in, found mode ${mode.toString(8).padStart(4, "0")}$`,
        );
        for (const purpose of ["act", "read"] as const) {
          await refused(folder, found, { hint: /chmod go-w \/\S+\/state, /, purpose });
        }
        await assert.rejects(makeStateFolder(folder), { code: "FILE_UNUSABLE" });
        await assert.rejects(readWanted(folder, "read"), { code: "FILE_UNUSABLE" });
      }
      await chmod(folder.dir, 0o1777);
      await assertOwnState(folder.dir, "act");
    }));

  it("takes what a umask of 002 made for a user with a group of his own", { skip: needsRoot }, () =>
    withFolder(async (folder) => {
      const { dir, wanted, spool, queue, roots } = folder;
      const parts = [dir, wanted, spool, queue, roots];
      const make = async (gid: number): Promise<void> => {
        for (const part of parts) await chown(part, NOBODY, gid);
        for (const part of parts) await chmod(part, 0o775);
      };
      await make(NOBODY);
      await asOrdinaryUser(() => assertOwnState(dir, "act"));
      await make(100);
      await asOrdinaryUser(() => refused(folder, /found mode 0775$/));
    }),
  );

  for (const name of ["wanted", "spool", "queue", "roots"] as const) {
    it(`refuses a part that is a link, a file or writable by others: ${name}`, () =>
      withFolder(async (folder) => {
        const part = folder[name];
        await chmod(part, 0o777);
        await refused(
          folder,
          new RegExp(`expected ".*/${name}" to be a folder that only its owner may write in`),
        );
        await rm(part, { recursive: true });
        await symlink("/etc", part);
        await refused(folder, new RegExp(`expected "${name}" in it to be a folder, found a link`), {
          hint: new RegExp(`^Move /\\S+/${name} away`),
        });
        await rm(part);
        await writeFile(part, "");
        await refused(folder, /to be a folder, found a file/);
      }));
  }

  for (const name of ["ledger.sqlite", "ledger.sqlite-wal", "lock", "due", "notice", "failure"]) {
    it(`refuses a file that is a link, a pipe or a folder: ${name}`, () =>
      withFolder(async (folder) => {
        const file = join(folder.dir, name);
        await symlink("/etc/passwd", file);
        await refused(folder, /to be a file, found a link/);
        await rm(file);
        execFileSync("mkfifo", [file]);
        await refused(folder, /to be a file, found a pipe/);
        await rm(file);
        await mkdir(file);
        await refused(folder, /to be a file, found a folder/);
      }));
  }

  it("refuses root the folder of another, and says who is to work there", { skip: needsRoot }, () =>
    withFolder(async (folder) => {
      const { dir, wanted, spool, queue, roots } = folder;
      const give = async (uid: number): Promise<void> => {
        for (const part of [dir, wanted, spool, queue, roots]) await chown(part, uid, uid);
      };
      await give(NOBODY);
      await refused(folder, /expected one of user root, found one of user nobody$/, {
        hint: /^Run sudo -u nobody handpick sync,/,
      });
      await assertOwnState(dir, "read");
      await give(61_185);
      await refused(folder, /found one of user 61185$/, { hint: /^Run systemctl start handpick,/ });
      await give(4711);
      await refused(folder, /./, { hint: /^Run sudo -u '#4711' handpick sync,/ });
      assert.deepEqual(await readWanted(folder, "read"), []);
      await assert.rejects(readWanted(folder), { code: "FILE_UNUSABLE" });
    }),
  );

  it(
    "refuses an ordinary user the folder of another, and reads that of root",
    { skip: needsRoot },
    () =>
      withFolder(async (folder) => {
        await chmod(folder.dir, 0o755);
        await asOrdinaryUser(async () => {
          await refused(folder, /found one of user root$/, { hint: /HANDPICK_STATE_DIR/ });
          await assertOwnState(folder.dir, "read");
        });
        await chown(folder.dir, 4711, 4711);
        await asOrdinaryUser(async () => {
          await refused(folder, /found one of user 4711$/, { purpose: "read" });
        });
      }),
  );

  it("takes what root's hooks leave, and nothing of third users", { skip: needsRoot }, () =>
    withFolder(async (folder) => {
      await chown(folder.dir, NOBODY, NOBODY);
      await assertOwnState(folder.dir, "read"); // its parts are root's
      await chown(folder.spool, 4711, 4711);
      await refused(folder, /of the owner of the folder or of root, found one of user 4711/, {
        purpose: "read",
      });
    }),
  );

  it(
    "shows root nothing of its own that the owner linked into the folder",
    { skip: needsRoot },
    () =>
      withFolder(async (folder) => {
        const secret = `${folder.dir}-secret`;
        await writeFile(secret, "secret\n", { mode: 0o600 });
        await chown(folder.dir, NOBODY, NOBODY);
        await symlink(secret, join(folder.dir, "notice"));
        assert.equal(await readNotice(folder), undefined);
        await rm(join(folder.dir, "notice"));
        await link(secret, join(folder.dir, "notice"));
        await refused(folder, /found one with another name elsewhere/, { purpose: "read" });
      }),
  );
});
