import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { sampleUpload } from "../../test/sample-upload.ts";
import { parseNarInfo, printNarInfo } from "../nix/narinfo.ts";
import { hashPartOf } from "../nix/store-path.ts";
import { narInfoName, narInfoOf } from "./binary-cache.ts";

describe("narInfoOf()", () => {
  const lib = sampleUpload({ name: "lib" }).storePath;
  const own = sampleUpload({ name: "app" }).storePath;
  const signatures = [`a-1:${"A".repeat(86)}==`, `b-1:${"B".repeat(85)}A==`];
  const { request, packed } = sampleUpload({
    name: "app",
    references: [lib, own],
    signatures,
    info: { contentAddress: `fixed:r:${sampleUpload({ name: "x" }).packed.fileHash}` },
  });

  it("tells readers all that the record of the path says, and the signatures in their order", () => {
    const narInfo = narInfoOf(request, packed);
    assert.deepEqual(parseNarInfo(printNarInfo(narInfo)), narInfo);
    assert.deepEqual(narInfo.signatures, signatures);
    assert.equal(narInfo.ca, request.info.contentAddress);
    assert.deepEqual(new Set(narInfo.references), new Set([lib, own]));
  });

  it("names the NAR for the hash of the file and its compression, as Nix does", () => {
    const digest = packed.fileHash.slice("sha256:".length);
    const suffixes = { zstd: ".nar.zst", xz: ".nar.xz", none: ".nar" } as const;
    for (const [compression, suffix] of Object.entries(suffixes)) {
      const known = compression as keyof typeof suffixes;
      const { url } = narInfoOf({ ...request, compression: known }, packed);
      assert.equal(url, `nar/${digest}${suffix}`);
    }
  });
});

describe("narInfoName()", () => {
  it("is the hash part of the path", () => {
    const { storePath } = sampleUpload({ name: "app" });
    assert.match(narInfoName(hashPartOf(storePath)), /^[0-9a-z]{32}\.narinfo$/);
  });
});
