import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";

import { tempDir } from "../../../test/temp.ts";
import { netrcPath } from "./netrc-path.ts";

describe("netrcPath()", () => {
  it("is the file beside nix.conf where nothing names another", async () => {
    assert.equal(await netrcPath({ HOME: "/nowhere", NIX_CONF_DIR: "/nowhere" }), "/nowhere/netrc");
    const relative = { HOME: "/nowhere", NIX_CONF_DIR: "etc", NIX_USER_CONF_FILES: "a:b" };
    assert.match(await netrcPath(relative), /^\/etc\/nix\/|^\/nix\//);
  });

  it("goes by nix.conf of the machine, of the user, and NIX_CONFIG, the last first", async () => {
    await using temp = await tempDir();
    const { dir } = temp;
    const env = { HOME: dir, NIX_CONF_DIR: join(dir, "etc") };
    await mkdir(join(dir, "etc"));
    await mkdir(join(dir, ".config/nix"), { recursive: true });
    const conf = "netrc-file = /old\n # netrc-file = /no\n netrc-file=/machine # as told\n";
    await writeFile(join(dir, "etc/nix.conf"), conf);
    assert.equal(await netrcPath(env), "/machine");
    await writeFile(join(dir, ".config/nix/nix.conf"), "netrc-file = /user\n");
    assert.equal(await netrcPath(env), "/user");
    assert.equal(await netrcPath({ ...env, NIX_USER_CONF_FILES: "" }), "/machine");
    await writeFile(join(dir, "two"), "netrc-file = /two\n");
    const files = `${join(dir, "one")}:${join(dir, "two")}`;
    assert.equal(await netrcPath({ ...env, NIX_USER_CONF_FILES: files }), "/two");
    const inline = { ...env, NIX_CONFIG: "x = y\nnetrc-file = /inline" };
    assert.equal(await netrcPath(inline), "/inline");
    assert.equal(await netrcPath({ ...env, NIX_CONFIG: "netrc-file = inline" }), "/user");
  });
});
