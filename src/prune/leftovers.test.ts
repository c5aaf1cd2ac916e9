import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { toyPath } from "../../test/toy-paths.ts";
import { narInfoName } from "../cache/binary-cache.ts";
import type { CacheFile } from "../cache/pruner.ts";
import { hashPartOf } from "../nix/store-path.ts";
import type { Entry } from "./entry.ts";
import { leftovers, narsNamedBy } from "./leftovers.ts";

const CUTOFFS = { ownMs: 1000, strayMs: 500 };
const nar = (digit: string): string => `nar/${digit.repeat(52)}.nar.zst`;
const file = (name: string, modifiedMs = 0): CacheFile => ({
  name,
  sizeBytes: 1,
  modifiedMs,
  version: "1",
});

function entryOf(name: string, more: Partial<Entry> = {}): Entry {
  const own = narInfoName(hashPartOf(toyPath(name)));
  const nothing = { needs: [], goesWith: undefined, urls: [], derivers: [], fault: undefined };
  return { file: file(own), label: name, ...nothing, ...more };
}

const namesLeft = (
  files: readonly CacheFile[],
  {
    stays = [],
    gone = [],
  }: { readonly stays?: readonly Entry[]; readonly gone?: readonly Entry[] },
): string[] => {
  const entries = new Map(stays.map((entry) => [entry.file.name, entry]));
  return leftovers(files, { entries, gone }, CUTOFFS).map(({ name }) => name);
};

describe("leftovers()", () => {
  it("has the NAR of what is gone, unless something that stays has the same", () => {
    const gone = [entryOf("a", { urls: [nar("a")] }), entryOf("b", { urls: [nar("b")] })];
    const stays = [entryOf("c", { urls: [nar("b")] })];
    const files = [file(nar("a"), 1000), file(nar("b"), 1000)];
    assert.deepEqual(namesLeft(files, { stays, gone }), [nar("a")]);
  });

  it("keeps a NAR that something which stays names in whatever way", () => {
    for (const url of [
      `./${nar("a")}`,
      `https://elsewhere.example/${nar("a")}?token=x#y`,
      nar("a").replace("a", "%61"),
      nar("a").replace("nar/", ""),
    ]) {
      const stays = [entryOf("c", { urls: [url] })];
      assert.deepEqual(namesLeft([file(nar("a"))], { stays }), [], url);
    }
  });

  it("keeps a NAR that came after the time for what belongs to nothing, or at a time not known", () => {
    const files = [file(nar("a"), 500), file(nar("b"), 501), file(nar("c"), Number.NaN)];
    assert.deepEqual(namesLeft(files, {}), [nar("a")]);
    const gone = ["b", "c"].map((name) => entryOf(name, { urls: [nar(name)] }));
    assert.deepEqual(namesLeft(files, { gone }), [nar("a"), nar("b")]);
  });

  it("has the listing and the log of what is gone, and no log that something else has as well", () => {
    const gone = [entryOf("a", { derivers: ["x.drv"] }), entryOf("b", { derivers: ["y.drv"] })];
    const stays = [entryOf("c", { derivers: ["y.drv"] })];
    const listing = (name: string): string => `${hashPartOf(toyPath(name))}.ls`;
    const names = [listing("a"), listing("c"), "log/x.drv", "log/y.drv", "log/z.drv"];
    const left = namesLeft(
      names.map((name) => file(name)),
      { stays, gone },
    );
    assert.deepEqual(left, [listing("a"), "log/x.drv"]);
  });

  it("leaves alone whatever is none of a cache's files", () => {
    const names = ["nix-cache-info", "index.html", "nar/notes.txt", `old/${nar("a")}`, "nar/x.nar"];
    const gone = [entryOf("a", { urls: ["nix-cache-info", "../other", "nar/../index.html"] })];
    assert.deepEqual(
      namesLeft(
        names.map((name) => file(name)),
        { gone },
      ),
      [],
    );
  });

  it("has a NAR of another form of name that what is gone names", () => {
    const gone = [entryOf("a", { urls: ["nar/x.nar"] })];
    assert.deepEqual(namesLeft([file("nar/x.nar")], { gone }), ["nar/x.nar"]);
  });
});

describe("narsNamedBy()", () => {
  it("takes an encoding that is none as it is", () => {
    assert.deepEqual(narsNamedBy("nar/%zz.nar"), ["%zz.nar"]);
  });
});
