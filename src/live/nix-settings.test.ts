import assert from "node:assert/strict";
import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";

import { tempDir } from "../../test/temp.ts";
import { configuredHook, withSetting } from "./nix-settings.ts";

describe("withSetting()", () => {
  it("adds a line and leaves what is there alone", () => {
    assert.equal(withSetting(undefined, "a", "1"), "a = 1\n");
    assert.equal(withSetting("", "a", "1"), "\na = 1\n");
    assert.equal(withSetting("b = 2 # why", "a", "1"), "b = 2 # why\na = 1\n");
  });
});

describe("configuredHook()", () => {
  it("asks in the words that the nix on the PATH knows", async () => {
    await using temp = await tempDir();
    const nix = join(temp.dir, "nix");
    const env = { PATH: `${temp.dir}:/usr/bin:/bin` };
    const answer = async (script: string): Promise<string | undefined> => {
      await writeFile(nix, `#!/bin/sh\n${script}\n`);
      await chmod(nix, 0o755);
      return configuredHook(env);
    };
    const show = "printf 'cores = 0\\npost-build-hook = /a/hook \\nsandbox = true\\n'";
    assert.equal(await answer(`[ "$3" = config ] && ${show}`), "/a/hook");
    assert.equal(await answer(`[ "$3" = show-config ] && ${show}`), "/a/hook");
    assert.equal(await answer("echo 'post-build-hook = '"), undefined);
    assert.equal(await answer("exit 1"), undefined);
    assert.equal(await configuredHook({ PATH: "/nonexistent" }), undefined);
  });
});
