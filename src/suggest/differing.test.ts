import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { toyPath } from "../../test/toy-paths.ts";
import type { Pick } from "../nix/manifest.ts";
import { parseStorePath, type StorePath } from "../nix/store-path.ts";
import { differingPicks } from "./differing.ts";

function pick(name: string, paths: readonly StorePath[], selection?: string): Pick {
  const rest = { closure: "runtime", caches: undefined, exclude: [], pin: undefined } as const;
  return { name, paths, ...rest, ...(selection === undefined ? {} : { selection }) };
}

describe("differingPicks()", () => {
  const [app, lib] = [toyPath("app-1"), toyPath("lib-1")];
  const otherApp = parseStorePath(`/nix/store/${"a".repeat(32)}-app-1`);

  it("finds a pick of which another build is installed", () => {
    assert.deepEqual(differingPicks([pick("app", [lib, app], "home")], new Set([otherApp])), [
      { pick: { name: "app", selection: "home" }, path: app, installed: otherApp },
    ]);
  });

  it("finds none that is installed, beside another build or not, nor one of another name", () => {
    assert.deepEqual(differingPicks([pick("app", [app])], new Set([app, otherApp])), []);
    assert.deepEqual(differingPicks([pick("lib", [lib])], new Set([otherApp])), []);
  });
});
