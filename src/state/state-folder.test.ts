import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";

import { tempDir } from "../../test/temp.ts";
import { readFailure } from "./failure.ts";
import { Ledger } from "./ledger.ts";
import { tryLock } from "./lock.ts";
import { readNotice } from "./notice.ts";
import { makeStateFolder, stateFolder } from "./state-folder.ts";

describe("a state folder", { timeout: 20_000 }, () => {
  it("is made with all above it by many at once, and not where nothing can be made", async () => {
    await using temp = await tempDir();
    const dir = join(temp.dir, "some/where/deep");
    await Promise.all(Array.from({ length: 20 }, () => makeStateFolder(stateFolder(dir))));
    assert.deepEqual((await readdir(dir)).toSorted(), ["queue", "roots", "spool", "wanted"]);
    for (const place of ["/proc/nowhere", "/dev/null/below"]) {
      await assert.rejects(makeStateFolder(stateFolder(place)), { code: "FILE_UNUSABLE" });
    }
  });

  it("keeps nobody waiting for a pipe in place of a file", async () => {
    await using temp = await tempDir();
    const folder = stateFolder(temp.dir);
    await makeStateFolder(folder);
    const names = ["notice", "failure", "ledger.sqlite", "lock"];
    execFileSync(
      "mkfifo",
      names.map((name) => join(temp.dir, name)),
    );
    assert.equal(await readNotice(folder), undefined);
    assert.equal(await readFailure(folder), undefined);
    assert.equal(Ledger.openReadOnly(folder), undefined);
    assert.throws(() => Ledger.open(folder), { code: "FILE_UNUSABLE" });
    assert.throws(() => tryLock(folder), { code: "FILE_UNUSABLE" });
  });

  it("locks by a file that is damaged, and still keeps others out", async () => {
    await using temp = await tempDir();
    const folder = stateFolder(temp.dir);
    await makeStateFolder(folder);
    await writeFile(join(temp.dir, "lock"), Buffer.alloc(9_000, 0xa5));
    using lock = tryLock(folder);
    assert.ok(lock !== undefined);
    assert.equal(tryLock(folder), undefined);
  });
});
