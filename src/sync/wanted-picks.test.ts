import assert from "node:assert/strict";
import { describe, it } from "node:test";

import type { Pick } from "../nix/manifest.ts";
import { parseStorePath } from "../nix/store-path.ts";
import { presentPart } from "./wanted-picks.ts";

const [out, dev, doc] = ["out", "dev", "doc"].map((name, index) =>
  parseStorePath(`/nix/store/${String(index).repeat(32)}-app-1-${name}`),
) as [Pick["paths"][0], Pick["paths"][0], Pick["paths"][0]];
const PICK: Pick = {
  name: "app",
  paths: [out, dev, doc],
  closure: "runtime",
  caches: undefined,
  exclude: [],
  pin: "app",
};

describe("presentPart()", () => {
  for (const { there, paths, pin, notes } of [
    { there: [out, dev, doc], paths: [out, dev, doc], pin: "app", notes: 0 },
    { there: [doc, out], paths: [out, doc], pin: "app", notes: 0 },
    { there: [dev, doc], paths: [dev, doc], pin: undefined, notes: 1 },
    { there: [doc], paths: [doc], pin: undefined, notes: 1 },
    { there: [], paths: [], pin: undefined, notes: 0 },
  ]) {
    const names = there.map((path) => path.slice(-3)).join(" and ") || "nothing";
    it(`pins ${pin === undefined ? "nothing" : "the first path"} where ${names} is there`, () => {
      const told: string[] = [];
      const part = presentPart(PICK, new Set(there), (text) => told.push(text));
      assert.deepEqual(part, { ...PICK, paths, pin });
      assert.equal(told.length, notes);
      for (const text of told) assert.match(text, /^pin "app" is left as it is: .*-app-1-out is/);
    });
  }
});
