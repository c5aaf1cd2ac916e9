import assert from "node:assert/strict";
import promises from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { describe, it, type TestContext } from "node:test";

import { tempDir } from "../../../test/temp.ts";
import { CacheFolder } from "./cache-folder.ts";

describe("CacheFolder.isWritable()", () => {
  for (const code of ["EACCES", "EPERM", "EROFS"]) {
    it(`says no where ${code} refuses it`, async (t) => {
      await using temp = await tempDir();
      failAccess(t, code);
      assert.equal(await new CacheFolder(temp.dir).isWritable(), false);
    });
  }

  for (const code of ["EIO", "ESTALE", "ENOTCONN"]) {
    it(`does not take ${code}, of a disk that fails, for a refusal`, async (t) => {
      await using temp = await tempDir();
      failAccess(t, code);
      await assert.rejects(new CacheFolder(temp.dir).isWritable(), { code });
    });
  }
});

/** No disk here fails when a test wants it. */
function failAccess(t: TestContext, code: string): void {
  t.mock.method(promises, "access", async () => {
    throw Object.assign(new Error("planted"), { code });
  });
  syncBuiltinESMExports();
  t.after(() => {
    t.mock.restoreAll();
    syncBuiltinESMExports();
  });
}
