import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { FUZZ_RUNS, hostileText, valueOrRefusal } from "../../../test/fuzz.ts";
import type { HttpResponse } from "../../http/http-message.ts";
import { readCacheInfo, readMissing, readPartUrl, readPins, readUploadIds } from "./answers.ts";

function answer(body: unknown): HttpResponse {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return { action: "try it", status: 200, headers: {}, body: Buffer.from(text) };
}

const HTTP = new URL("http://127.0.0.1");
const HTTPS = new URL("https://cachix.org");

const CACHE = {
  name: "acme",
  uri: "https://acme.cachix.org/",
  isPublic: true,
  publicSigningKeys: ["acme.cachix.org-1:A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="],
  githubUsername: "acme-bot",
  permission: "Write",
  preferredCompressionMethod: "ZSTD",
};

describe("the answers of Cachix", () => {
  it("are read as documented, with unknown keys ignored and slashes cut", () => {
    assert.equal(readCacheInfo(answer({ ...CACHE, more: 1 })).readUrl, "https://acme.cachix.org");
    assert.deepEqual(readMissing(answer(["a", "a"])), ["a", "a"]);
    assert.deepEqual(readUploadIds(answer({ narId: "a-1", uploadId: "..", x: 1 })), {
      narId: "a-1",
      uploadId: "..",
    });
    const pins = [
      { name: "a", lastRevision: { storePath: "p" } },
      { name: "b", lastRevision: null },
    ];
    assert.deepEqual(
      [...readPins(answer(pins))],
      [
        ["a", "p"],
        ["b", undefined],
      ],
    );
  });

  it("have nothing in what is shown of them that could steer a terminal", () => {
    const { readUrl, publicKeys } = readCacheInfo(
      answer({
        ...CACHE,
        uri: "https://acme.example/\u001b[2J\nok  mine: fine\u202e",
        publicSigningKeys: ["a-1:AA==\n\u001b]0;title\u0007", "\u009b31m"],
      }),
    );
    assert.doesNotMatch([readUrl, ...(publicKeys ?? [])].join(""), /\p{C}/u);
    assert.equal(publicKeys?.length, 2);
  });

  it("lead from https to https only", () => {
    const http = answer({ uploadUrl: "http://storage/x?y" });
    const https = answer({ uploadUrl: "https://storage/x?y" });
    assert.equal(readPartUrl(https, HTTPS).href, "https://storage/x?y");
    assert.equal(readPartUrl(https, HTTP).href, "https://storage/x?y");
    assert.equal(readPartUrl(http, HTTP).href, "http://storage/x?y");
    assert.throws(() => readPartUrl(http, HTTPS), {
      code: "CACHE_PROTOCOL",
      message: "Cannot try it: expected uploadUrl to be a URL of https:// without credentials",
    });
  });

  it("name what is wrong with them, in one short line", () => {
    const { uri: _, ...nameless } = CACHE;
    const cases: readonly (readonly [read: () => unknown, expected: string])[] = [
      [
        () => readCacheInfo(answer({ ...CACHE, publicSigningKeys: ["a", 5] })),
        "publicSigningKeys.1 to be a text, found 5",
      ],
      [() => readCacheInfo(answer(nameless)), "uri to be a text, found nothing"],
      [
        () => readCacheInfo(answer({ ...CACHE, uri: "ftp://x/?secret" })),
        'uri to be a URL of http:// or https://, found "ftp://x/?…"',
      ],
      [
        () => readCacheInfo(answer({ ...CACHE, permission: "Owner" })),
        'permission to be Read, Write or Admin, found "Owner"',
      ],
      [
        () => readCacheInfo(answer({ ...CACHE, isPublic: null })),
        "isPublic to be true or false, found null",
      ],
      [() => readCacheInfo(answer([])), "uri to be a text, found nothing"],
      [() => readCacheInfo(answer("5")), "the answer to be an object, found 5"],
      [() => readMissing(answer({})), "the answer to be a list, found an object"],
      [() => readPins(answer([[]])), "entry 0.name to be a text, found nothing"],
      [
        () => readPins(answer([{ name: "a", lastRevision: {} }])),
        "entry 0.lastRevision.storePath to be a text, found nothing",
      ],
      [
        () => readUploadIds(answer({ narId: ["a"], uploadId: "" })),
        "narId to be a text, found a list",
      ],
      [
        () => readUploadIds(answer({ narId: "a", uploadId: "x\ud800" })),
        'uploadId to be a text of whole characters, found "x"',
      ],
    ];
    for (const [read, expected] of cases) {
      assert.throws(read, { message: `Cannot try it: expected ${expected}` });
    }
    assert.throws(() => readMissing(answer("<html>Hello</html>")), {
      message: "Cannot try it: expected JSON, received a page of HTML",
    });
    assert.throws(() => readMissing(answer("")), {
      message: "Cannot try it: expected JSON, received nothing",
    });
  });

  it("are a value or a refusal, whatever they hold", () => {
    const samples = [
      CACHE,
      ["7k3i624w0rfrvcrbbdrw0zrvasywxmz4"],
      { narId: "5f3c", uploadId: "abc" },
      { uploadUrl: "https://storage/a?b" },
      [{ name: "a", lastRevision: { storePath: "/nix/store/x" } }],
    ].map((sample) => JSON.stringify(sample));
    const readers: readonly ((response: HttpResponse) => unknown)[] = [
      readCacheInfo,
      readMissing,
      readUploadIds,
      readPins,
      (response) => readPartUrl(response, HTTP),
    ];
    const read = fc.constantFrom(...readers);
    fc.assert(
      fc.property(hostileText(samples), read, (text, reader) => {
        valueOrRefusal("HandpickError", () => reader(answer(text)));
      }),
      { numRuns: FUZZ_RUNS },
    );
  });
});
