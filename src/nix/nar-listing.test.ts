import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import {
  NAR_CLOSE,
  NAR_DIRECTORY_HEAD,
  NAR_MAGIC,
  narEntryHead,
  narSymlink,
} from "./nar-encode.ts";
import { NarLister } from "./nar-listing.ts";
import { NarReader } from "./nar-reader.ts";

const VECTORS = new URL("../../test/vectors/", import.meta.url);
const vector = (name: string): Buffer => readFileSync(new URL(name, VECTORS));

function list(nar: Uint8Array): unknown {
  const lister = new NarLister();
  const reader = new NarReader(lister);
  reader.write(nar);
  reader.end();
  return JSON.parse(JSON.stringify(lister.listing));
}

const folderOf = (name: Uint8Array): Buffer =>
  Buffer.concat([
    NAR_MAGIC,
    NAR_DIRECTORY_HEAD,
    narEntryHead(name),
    narSymlink(Buffer.from("t")),
    NAR_CLOSE,
    NAR_CLOSE,
  ]);

describe("NarLister", () => {
  for (const listing of ["order.ls", "order.ls-2.34"]) {
    it(`lists a folder as Nix does in ${listing}`, () => {
      const expected: unknown = JSON.parse(vector(`narinfo/${listing}`).toString());
      assert.deepEqual(list(vector("nar/order.nar")), expected);
    });
  }

  it("lists a file and a link that are the root", () => {
    const root = { type: "regular", size: 10, executable: true, narOffset: 128 };
    assert.deepEqual(list(vector("nar/exec.nar")), { version: 1, root });
    const link = { type: "symlink", target: "../some/target" };
    assert.deepEqual(list(vector("nar/sym.nar")), { version: 1, root: link });
  });

  it("has nothing before the root", () => {
    assert.equal(new NarLister().listing, undefined);
  });

  it("lists an entry that is named like a property of objects", () => {
    assert.match(JSON.stringify(list(folderOf(Buffer.from("__proto__")))), /"__proto__":\{"type"/);
  });

  it("fails the reader for a name that is not UTF-8", () => {
    assert.throws(() => list(folderOf(Buffer.of(0xff))), { name: "FormatError", format: "nar" });
  });
});
