import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { toyPath } from "../../test/toy-paths.ts";
import { sampleUpload } from "../../test/sample-upload.ts";
import { narInfoName, narInfoOf, realisationOf } from "../cache/binary-cache.ts";
import type { CacheFile } from "../cache/pruner.ts";
import { printNarInfo } from "../nix/narinfo.ts";
import type { RealisationId } from "../nix/realisation.ts";
import { baseNameOf, hashPartOf } from "../nix/store-path.ts";
import { isEntryName, readEntry } from "./entry.ts";

const file = (name: string): CacheFile => ({ name, sizeBytes: 1, modifiedMs: 0, version: "1" });
const named = (name: string): string => narInfoName(hashPartOf(toyPath(name)));

describe("readEntry()", () => {
  const { request, packed, storePath } = sampleUpload({
    name: "app",
    references: [toyPath("lib")],
    info: { deriver: toyPath("app.drv") },
  });
  const name = narInfoName(hashPartOf(storePath));
  const narInfo = narInfoOf(
    { ...request, info: { ...request.info, references: [storePath, toyPath("lib")] } },
    packed,
  );
  const text = printNarInfo(narInfo);

  it("reads of a narinfo what it needs besides itself, its NAR and its deriver", () => {
    assert.deepEqual(readEntry(file(name), text, "/nix/store"), {
      file: file(name),
      label: baseNameOf(storePath),
      needs: [named("lib")],
      goesWith: undefined,
      urls: [narInfo.url],
      derivers: [baseNameOf(toyPath("app.drv"))],
      fault: undefined,
    });
  });

  for (const [what, broken] of [
    ["without its hash", text.replace(/^NarHash.*\n/m, "")],
    ["of a compression that nobody knows", text.replace("zstd", "cube")],
    ["with other ends of lines", text.replaceAll("\n", "\r\n")],
    ["cut", text.slice(0, -2)],
    ["of another store", text.replace("/nix/store", "/gnu/store")],
  ] as const) {
    it(`finds a fault in a narinfo ${what}, and still what it needs`, () => {
      const entry = readEntry(file(name), broken, "/nix/store");
      assert.notEqual(entry.fault, undefined);
      assert.deepEqual([entry.needs, entry.urls], [[named("lib")], [narInfo.url]]);
    });
  }

  it("finds a fault in the narinfo of another path", () => {
    const { fault } = readEntry(file(named("other")), text, "/nix/store");
    assert.equal(fault, `it is that of ${baseNameOf(storePath)}`);
  });

  it("reads nothing of an empty file, without an error", () => {
    const { fault, needs, urls } = readEntry(file(name), "", "/nix/store");
    assert.equal(typeof fault, "string");
    assert.deepEqual([needs, urls], [[], []]);
  });

  it("reads of a realisation its path and those that it was built with", () => {
    const [id, dependency] = ["a", "b"].map(
      (digit) => `sha256:${digit.repeat(64)}!out` as RealisationId,
    );
    assert.ok(id !== undefined && dependency !== undefined);
    const { name, bytes } = realisationOf({
      id,
      path: toyPath("app"),
      signatures: [],
      dependencies: new Map([[dependency, toyPath("lib")]]),
    });
    const entry = readEntry(file(name), Buffer.from(bytes).toString(), "/nix/store");
    assert.equal(isEntryName(name), true);
    assert.deepEqual(entry.needs, [named("app"), `realisations/${dependency}.doi`, named("lib")]);
    assert.deepEqual([entry.goesWith, entry.fault], [named("app"), undefined]);
  });

  for (const text of ["", "null", "7", "{}", '{"outPath":7}', "[]", '{"outPath":"x"}']) {
    it(`finds a fault in the realisation ${text}`, () => {
      const entry = readEntry(file("realisations/x!out.doi"), text, "/nix/store");
      assert.deepEqual([entry.fault, entry.needs], ["it is no realisation", []]);
    });
  }

  it("keeps the paths that a realisation of a form to come names", () => {
    const text = `{"paths":["${baseNameOf(toyPath("app"))}"]}`;
    const entry = readEntry(file("realisations/x!out.doi"), text, "/nix/store");
    assert.deepEqual(entry.needs, [named("app")]);
  });
});
