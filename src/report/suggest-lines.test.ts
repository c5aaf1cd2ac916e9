import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { toyPath } from "../../test/toy-paths.ts";
import { parseStorePath } from "../nix/store-path.ts";
import type { Suggestion, Wanter } from "../suggest/rank.ts";
import { differingLines, nixList, suggestionLines } from "./suggest-lines.ts";

const DAY_MS = 24 * 3600_000;
const NOW = 1_796_000_000_000;

function suggestion(name: string, change: Partial<Suggestion> = {}): Suggestion {
  return {
    name,
    paths: [toyPath("app")],
    derivation: undefined,
    narSize: 1,
    buildMs: 1,
    builtAt: NOW,
    pushPaths: 1,
    pushBytes: 5 * 2 ** 20,
    savedMs: 250_000,
    wantedBy: [],
    ...change,
  };
}

describe("suggestionLines()", () => {
  it("tells time, size, name, age and what needs it", () => {
    const wantedBy: Wanter[] = [
      { kind: "profile", name: "home-manager" },
      { kind: "link", name: "/home/u/\u001B[2Jresult" },
      { kind: "profile", name: "system", generation: 7 },
    ];
    const old = { kind: "profile", name: "system", generation: 7 } as const;
    const builtAt = NOW - DAY_MS;
    const lines = suggestionLines(
      [
        suggestion("app-1", { wantedBy }),
        suggestion("tool-2", { savedMs: undefined, builtAt, wantedBy: [old] }),
        suggestion("lib-3", { builtAt: NOW - 9 * DAY_MS }),
      ],
      NOW,
    );
    assert.deepEqual(
      lines.map((line) => line.replaceAll(/ {2,}/g, "  ")),
      [
        "  4 min 10 s  5.0 MiB  app-1  built today, for home-manager, /home/u/[2Jresult, 1 more",
        "  –  5.0 MiB  tool-2  built yesterday, for system (generation 7)",
        "  4 min 10 s  5.0 MiB  lib-3  built 9 days ago",
      ],
    );
  });
});

describe("differingLines()", () => {
  it("names pick, selection and both builds", () => {
    const installed = parseStorePath(`/nix/store/${"a".repeat(32)}-app`);
    const [line] = differingLines([
      { pick: { name: "app", selection: "home" }, path: toyPath("app"), installed },
    ]);
    assert.match(
      line ?? "",
      /^warning: pick app of home is 0{26}617070-app, and a{32}-app is installed: /,
    );
  });
});

describe("nixList()", () => {
  it("quotes what is no name of Nix, and lists each package once", () => {
    const names = ["my_tool-1.2", "7zip-24", "let-1", "gtk+3-3.1", "python3.12-x-1", "7zip-23"];
    assert.equal(
      nixList(names.map((name) => suggestion(name))),
      [
        "[",
        "  pkgs.my_tool # my_tool-1.2, 5.0 MiB, 4 min 10 s",
        '  pkgs."7zip" # 7zip-24, 5.0 MiB, 4 min 10 s',
        '  pkgs."let" # let-1, 5.0 MiB, 4 min 10 s',
        '  pkgs."gtk+3" # gtk+3-3.1, 5.0 MiB, 4 min 10 s',
        '  pkgs."python3.12-x" # python3.12-x-1, 5.0 MiB, 4 min 10 s',
        "]\n",
      ].join("\n"),
    );
    assert.equal(nixList([]), "[\n]\n");
  });
});
