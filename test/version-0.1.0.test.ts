import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";

import { parseConfig } from "../src/config/config.ts";
import { parseManifest } from "../src/nix/manifest.ts";
import { VERSION_0_1_0 } from "./version-0.1.0.ts";

const textOf = (name: string): Promise<string> => readFile(join(VERSION_0_1_0, name), "utf8");

/** The ledger of 0.1.0 is in `src/state/ledger-file.test.ts` and `test/state-folder-trust.test.ts`. */
describe("what was written for 0.1.0", () => {
  it("is read: a manifest", async () => {
    const { name, picks } = parseManifest(await textOf("manifest.json"));
    const [tool, data] = picks;
    assert.deepEqual([name, picks.length], ["home-manager", 2]);
    assert.deepEqual(
      [tool?.name, tool?.paths.length, tool?.closure, tool?.pin],
      ["tool", 2, "build", "tool"],
    );
    assert.deepEqual([tool?.caches, tool?.exclude], [["mine", "cachix://other"], ["*-doc"]]);
    assert.deepEqual([data?.closure, data?.caches, data?.pin], ["runtime", undefined, undefined]);
  });

  it("is read: a configuration", async () => {
    const config = parseConfig(await textOf("handpick.toml"), "/etc/handpick/config.toml", {});
    const [mine, other] = config.caches;
    assert.deepEqual(
      [mine?.name, mine?.url, mine?.host, mine?.tokenFile, mine?.signingKeyFile],
      [
        "mine",
        "cachix://mycache",
        "http://127.0.0.1:8080",
        "/run/secrets/cachix",
        "/run/secrets/key",
      ],
    );
    assert.deepEqual(
      [mine?.upstreams, mine?.compression, mine?.compressionLevel],
      [["https://cache.nixos.org"], "zstd", 3],
    );
    assert.deepEqual(
      [other?.tokenEnv, other?.clientFile, other?.compression],
      ["OTHER_TOKEN", join(homedir(), ".config/cachix/cachix.dhall"), "xz"],
    );
    const { exclude, maxNarSize, onHole } = config.rules;
    assert.deepEqual([exclude.length, maxNarSize, onHole], [2, 2 ** 31, "hold"]);
    assert.deepEqual(config.builds.include, ["rustowl*", "my-*"]);
    assert.deepEqual(config.builds.caches, ["mine"]);
  });
});
