import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { describe, it } from "node:test";

import {
  NAR_CLOSE,
  NAR_DIRECTORY_HEAD,
  NAR_MAGIC,
  narEntryHead,
  narSymlink,
} from "./nar-encode.ts";
import { type Listing, NarListing } from "./nar-listing.ts";
import { NarReader } from "./nar-reader.ts";

const VECTORS = new URL("../../test/vectors/nar/", import.meta.url);

function listingOf(nar: Uint8Array, longest?: number): Listing {
  const listing = new NarListing(longest);
  const reader = new NarReader(listing);
  reader.write(nar);
  reader.end();
  return listing.listing;
}

/** A folder with one link. */
function linkNar(name: Uint8Array, target: Uint8Array): Buffer {
  const entry = [narEntryHead(name), narSymlink(target), NAR_CLOSE];
  return Buffer.concat([NAR_MAGIC, NAR_DIRECTORY_HEAD, ...entry, NAR_CLOSE]);
}

interface Node {
  readonly type: string;
  readonly size?: number;
  readonly executable?: boolean;
  readonly narOffset?: number;
  readonly target?: string;
  readonly entries?: Readonly<Record<string, Node>>;
}

function parsed(listing: Listing): Node {
  assert.ok("text" in listing, JSON.stringify(listing));
  const { version, root } = JSON.parse(listing.text) as { version: number; root: Node };
  assert.equal(version, 1);
  return root;
}

describe("NarListing", () => {
  it("lists files with sizes and places, folders, links and programs", () => {
    const nar = readFileSync(new URL("order.nar", VECTORS));
    const { type, entries = {} } = parsed(listingOf(nar));
    assert.equal(type, "directory");
    assert.deepEqual(Object.keys(entries).toSorted(), [
      "10",
      "9",
      "B",
      "Z",
      "_z",
      "a",
      "a b",
      "a-b",
      "a.b",
      "ab",
      "sub",
      "~x",
      "é",
    ]);
    for (const [name, { type, size = 0, narOffset = 0 }] of Object.entries(entries)) {
      if (type !== "regular") continue;
      assert.equal(nar.subarray(narOffset, narOffset + size).toString(), name);
    }
    const { f, link } = entries["sub"]?.entries ?? {};
    assert.deepEqual([f?.executable, f?.size], [true, 1]);
    assert.deepEqual(link, { type: "symlink", target: "a" });
    assert.equal(entries["a"]?.executable, undefined);
  });

  it("is JSON for all that real Nix dumped", () => {
    for (const name of readdirSync(VECTORS)) {
      const listing = listingOf(readFileSync(new URL(name, VECTORS)));
      if ("text" in listing) parsed(listing);
      else assert.match(listing.fault, /UTF-8/, name);
    }
  });

  it("keeps names that mean something in JSON or JavaScript", () => {
    for (const name of ['"', "\\", "__proto__", "\n", "\u{1f980}", "\ufeff", "constructor"]) {
      const { entries = {} } = parsed(listingOf(linkNar(Buffer.from(name), Buffer.from(name))));
      assert.deepEqual(Object.keys(entries), [name]);
      assert.equal(Object.values(entries)[0]?.target, name);
    }
  });

  it("is none where JSON cannot say a name or a target", () => {
    const [odd, plain] = [Buffer.of(0xff), Buffer.from("a")];
    const fault = { fault: "a name in it is not UTF-8" };
    assert.deepEqual(listingOf(linkNar(odd, plain)), fault);
    assert.deepEqual(listingOf(linkNar(plain, odd)), fault);
  });

  it("is none where it would be longer than it may be, by a byte", () => {
    const nar = readFileSync(new URL("order.nar", VECTORS));
    const whole = listingOf(nar);
    assert.ok("text" in whole);
    const bytes = Buffer.byteLength(whole.text);
    assert.deepEqual(listingOf(nar, bytes), whole);
    const fault = { fault: `it would have more than ${bytes - 1} bytes` };
    assert.deepEqual(listingOf(nar, bytes - 1), fault);
  });
});
