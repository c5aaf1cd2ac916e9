import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";

import { tempDir } from "../../test/temp.ts";
import { whoBuilds } from "./who-builds.ts";

describe("whoBuilds()", () => {
  it("goes by the right to write where nothing is said, and by what is said", async () => {
    await using temp = await tempDir();
    const writable = { NIX_STATE_DIR: temp.dir };
    const other = { NIX_STATE_DIR: join(temp.dir, "absent") };
    assert.equal(await whoBuilds(writable, { trusted: false }), "self");
    assert.equal(await whoBuilds({ ...other, NIX_REMOTE: "local" }, { trusted: false }), "self");
    for (const env of [other, { ...writable, NIX_REMOTE: "daemon" }]) {
      assert.equal(await whoBuilds(env, { trusted: true }), "obeying-daemon");
      assert.equal(await whoBuilds(env, { trusted: false }), "daemon");
      assert.equal(await whoBuilds(env, { trusted: undefined }), "daemon");
    }
  });
});
