import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { zstdCompressSync, zstdDecompressSync } from "node:zlib";

import * as fc from "fast-check";
import * as v from "valibot";

import { assertLinear, FUZZ_RUNS, hostileBytes, hostileText } from "../../test/fuzz.ts";
import { judgeAccess } from "./access.ts";
import { urlForClient } from "./base-url.ts";
import { parseByteRange } from "./byte-range.ts";
import { completeRequestSchema } from "./complete-request.ts";
import { checkPartUrl, signPartUrl } from "./part-url.ts";
import { pinRequestSchema } from "./pins.ts";
import { ZstdFrameWalk } from "./zstd-frame.ts";

const HASH = "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73";
const BASE_NAME = "y9v4w1kf41c10q7fdxlbz10s0adiximd-dep-1.0";
const COMPLETE = {
  parts: [{ partNumber: 1, eTag: '"x"' }],
  narInfoCreate: {
    cStoreHash: BASE_NAME.slice(0, 32),
    cStoreSuffix: BASE_NAME.slice(33),
    cNarHash: HASH,
    cNarSize: 120,
    cFileHash: "0".repeat(64),
    cFileSize: 100,
    cReferences: [BASE_NAME],
    cDeriver: "unknown-deriver",
    cSig: null,
  },
};
const PIN = { name: "a", storePath: `/nix/store/${BASE_NAME}`, artifacts: ["bin/a"], keep: null };

/** The errors that the routes turn into a status of 400. */
function isRefusal(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return error.name === "FormatError" || ("status" in error && error.status === 400);
}

function walk(bytes: Uint8Array, chunkSize: number): boolean {
  const frameWalk = new ZstdFrameWalk();
  try {
    for (let at = 0; at < bytes.length; at += chunkSize) {
      frameWalk.write(bytes.subarray(at, at + chunkSize));
    }
    return true;
  } catch (error) {
    assert.ok(isRefusal(error), String(error));
    return false;
  }
}

describe("bodies of requests, fed with anything", () => {
  for (const [what, schema, sample] of [
    ["complete", completeRequestSchema, COMPLETE],
    ["pin", pinRequestSchema, PIN],
  ] as const) {
    it(`of ${what} are taken or refused`, () => {
      const texts = [JSON.stringify(sample), JSON.stringify(sample, undefined, 1)];
      fc.assert(
        fc.property(fc.oneof(hostileText(texts), fc.json()), (text) => {
          let body: unknown;
          try {
            body = JSON.parse(text);
          } catch {
            return; // readJson() refuses it
          }
          try {
            v.safeParse(schema, body);
          } catch (error) {
            assert.ok(isRefusal(error), String(error));
          }
          assert.equal(({} as { polluted?: unknown }).polluted, undefined);
        }),
        { numRuns: FUZZ_RUNS },
      );
      assert.ok(v.is(schema, sample));
    });
  }
});

describe("ZstdFrameWalk, fed with anything", () => {
  const frames = [Buffer.alloc(0), Buffer.from("some text"), Buffer.alloc(300_000, 7)].map(
    (bytes) => zstdCompressSync(bytes),
  );

  it("takes or refuses it, the same for chunks of every size from 1 to 1025", () => {
    const [, frame = Buffer.alloc(0)] = frames;
    const two = Buffer.concat([frame, frame]);
    for (let size = 1; size <= 1025; size++) {
      assert.deepEqual([walk(frame, size), walk(two, size)], [true, false]);
    }
    fc.assert(
      fc.property(hostileBytes(frames), fc.integer({ min: 1, max: 99 }), (bytes, size) => {
        assert.equal(walk(bytes, size), walk(bytes, bytes.length + 1));
      }),
      { numRuns: FUZZ_RUNS },
    );
  });

  it("takes nothing of which a decompressor would leave a rest", () => {
    fc.assert(
      fc.property(hostileBytes(frames), fc.uint8Array({ minLength: 1 }), (bytes, rest) => {
        let isWhole = true;
        try {
          zstdDecompressSync(bytes);
        } catch {
          isWhole = false;
        }
        if (!isWhole || bytes.length === 0 || !walk(bytes, 99)) return;
        assert.equal(walk(Buffer.concat([bytes, rest]), 99), false);
      }),
      { numRuns: FUZZ_RUNS },
    );
  });
});

describe("headers and URLs, fed with anything", () => {
  const TOKEN = "0123456789abcdef";

  it("make nobody an owner without the token", () => {
    const basic = Buffer.from(`user:${TOKEN}`).toString("base64");
    fc.assert(
      fc.property(hostileText([`Bearer ${TOKEN}`, `Basic ${basic}`]), (header) => {
        if (judgeAccess(header, TOKEN) !== "owner") return;
        const decoded = Buffer.from(header.replace(/^\w+ +/, ""), "base64").toString();
        assert.ok(header.trim().endsWith(TOKEN) || decoded.endsWith(`:${TOKEN}`), header);
      }),
      { numRuns: FUZZ_RUNS },
    );
    assertLinear([`Basic ${basic}`], (header) => judgeAccess(header, TOKEN));
  });

  it("name ranges inside of the file and hosts that are hosts", () => {
    fc.assert(
      fc.property(hostileText(["bytes=0-99", "bytes=-5"]), fc.nat(500), (header, sizeBytes) => {
        const range = parseByteRange(header, sizeBytes);
        if (typeof range !== "object") return;
        assert.ok(0 <= range.start && range.start <= range.end && range.end < sizeBytes);
      }),
      { numRuns: FUZZ_RUNS },
    );
    fc.assert(
      fc.property(hostileText(["cache.example.org:8080", "[::1]:80", "127.0.0.1"]), (header) => {
        const text = urlForClient({ host: "0.0.0.0", port: 80 }, header);
        assert.match(text, /^http:\/\/[\w.:[\]-]+$/);
      }),
      { numRuns: FUZZ_RUNS },
    );
    assertLinear(["bytes=0-99"], (header) => parseByteRange(header, 10));
    assertLinear(["a.b:80"], (header) => urlForClient({ host: "::", port: 80 }, header));
  });

  it("are no part URLs but the ones that were given out", () => {
    const address = { narId: "nar", uploadId: "up", partNumber: 1, md5: "md5" };
    const signed = new URL(signPartUrl(address, 1000, "key"), "http://host").searchParams;
    const signature = signed.get("signature") ?? "";
    const claim = fc.record({
      narId: hostileText(["nar", "other"]),
      uploadId: hostileText(["up"]),
      signature: hostileText([signature]),
      expires: fc.integer({ min: 999, max: 1001 }),
    });
    fc.assert(
      fc.property(claim, (claimed) => {
        const isSame = isDeepStrictEqual(
          { ...address, ...claimed },
          { ...address, expires: 1000, signature },
        );
        assert.equal(checkPartUrl({ ...address, ...claimed }, 0, "key"), isSame);
      }),
      { numRuns: FUZZ_RUNS },
    );
    assert.ok(checkPartUrl({ ...address, expires: 1000, signature }, 0, "key"));
  });
});
