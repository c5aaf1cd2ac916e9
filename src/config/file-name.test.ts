import assert from "node:assert/strict";
import { userInfo } from "node:os";
import { describe, it } from "node:test";
import { resolveFileName } from "./file-name.ts";

const HOME = userInfo().homedir;

describe("resolveFileName()", () => {
  const env = { XDG_RUNTIME_DIR: "/run/user/7", XDG_DATA_HOME: "", CACHIX_AUTH_TOKEN: "secret" };
  const options = { file: "/etc/handpick/config.toml", env };
  const cases = {
    "/run/secrets/a": "/run/secrets/a",
    "keys/a": "/etc/handpick/keys/a",
    "~/a": `${HOME}/a`,
    "${XDG_RUNTIME_DIR}/agenix/a": "/run/user/7/agenix/a",
    "${XDG_DATA_HOME}/a": "/etc/handpick/${XDG_DATA_HOME}/a",
    "/a/${CACHIX_AUTH_TOKEN}": "/a/${CACHIX_AUTH_TOKEN}",
  };
  for (const [name, expected] of Object.entries(cases)) {
    it(`reads ${name} as ${expected.replace(HOME, "~")}`, () => {
      assert.equal(resolveFileName(name, options), expected);
    });
  }

  it(
    "leaves what only macOS can tell as it is elsewhere",
    { skip: process.platform === "darwin" && "this is macOS" },
    () => {
      const name = "$(getconf DARWIN_USER_TEMP_DIR)/agenix/a";
      assert.equal(resolveFileName(name, options), `/etc/handpick/${name}`);
    },
  );
});
