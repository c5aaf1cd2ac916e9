import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { userInfo } from "node:os";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";

import { ownFiles } from "./config/find-config.ts";
import { homeDirectory } from "./home-directory.ts";
import { resolveFileName } from "./config/file-name.ts";
import { stateDirectory } from "./config/state-directory.ts";

const LISTED = userInfo().homedir;

describe("homeDirectory()", () => {
  it("is an absolute HOME", () => {
    assert.equal(homeDirectory({ HOME: "/home/u" }), "/home/u");
  });

  for (const [what, env] of [
    ["without HOME", {}],
    ["for an empty HOME", { HOME: "" }],
    ["for the working folder as HOME", { HOME: "." }],
    ["for a relative HOME", { HOME: "home/u" }],
  ] as const) {
    it(`is the listed one ${what}, for all that is looked for below it`, () => {
      assert.equal(homeDirectory(env), LISTED);
      assert.deepEqual(ownFiles({ env, uid: 1 }), [`${LISTED}/.config/handpick/config.toml`]);
      assert.equal(stateDirectory(env, 1), `${LISTED}/.local/state/handpick`);
      const options = { file: "/checkout/handpick.toml", env };
      assert.equal(resolveFileName("~/a", options), `${LISTED}/a`);
      assert.equal(resolveFileName("${HOME}/a", options), `${LISTED}/a`);
    });
  }

  it(
    "is a folder that is not there for a user whom no list has",
    { skip: process.getuid?.() !== 0 && "only root can become another user" },
    () => {
      const module = fileURLToPath(new URL("home-directory.ts", import.meta.url));
      const script = `const { homeDirectory } = await import(${JSON.stringify(module)});
        process.setuid(1999999999);
        process.stdout.write(homeDirectory({ HOME: "" }));`;
      const args = ["--input-type=module", "--eval", script];
      assert.equal(execFileSync(process.execPath, args, { encoding: "utf8" }), "/nonexistent");
    },
  );
});
