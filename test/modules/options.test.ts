import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { type OptionLists, optionsExpression, optionsPage } from "../../scripts/options-page.ts";
import { codeBlocks, readProject } from "../markdown.ts";
import { createTestNix } from "../nix.ts";
import { sourceTree } from "../sources.ts";

const lib = sourceTree("nixpkgs-lib");

describe("docs/options.md", { skip: "skip" in lib && lib.skip, timeout: 60_000 }, () => {
  it("has the options that the modules have: scripts/options.ts writes it", async () => {
    await using nix = await createTestNix();
    const expression = optionsExpression("dir" in lib ? lib.dir : "");
    const told = await nix.run("nix-instantiate", [
      "--eval",
      "--strict",
      "--json",
      "-E",
      expression,
    ]);
    const lists = JSON.parse(told.stdout) as OptionLists;
    assert.equal(await optionsPage(lists), await readProject("docs/options.md"));
    for (const { name, description, example } of Object.values(lists).flat()) {
      assert.match(description, /^\S[^]*\.\n?$/, `${name} has no description`);
      assert.notEqual(example, null, `${name} has no example`);
    }
  });
});

describe("the documents about the modules", () => {
  it("have examples that Nix can read", async () => {
    await using nix = await createTestNix();
    const names = ["home-manager", "nixos", "nix-darwin", "moving-from-bash-modules"];
    for (const name of names) {
      const examples = codeBlocks(await readProject(`docs/${name}.md`), "nix");
      assert.ok(examples.length > 1, name);
      for (const text of examples) {
        await nix.run("nix-instantiate", ["--parse", "-E", `{ toolchain }: ${text}`]);
      }
    }
  });
});
