import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { assertLinear, FUZZ_RUNS, hostileText, valueOrRefusal } from "../../../test/fuzz.ts";
import { cacheUrlFault, canonicalUrl } from "../cache-url.ts";
import { atticUrlFault, guessAtticUrl, parseAtticUrl, serverUrl } from "./attic-url.ts";

describe("parseAtticUrl()", () => {
  it("gives server and name", () => {
    for (const [url, server, cacheName] of [
      ["attic://cache.example.org/mine", "cache.example.org", "mine"],
      ["attic://127.0.0.1:8080/a_b+c-1/", "127.0.0.1:8080", "a_b+c-1"],
      ["attic://[::1]:8080/x", "[::1]:8080", "x"],
      ["attic://Central/X", "Central", "X"],
    ] as const) {
      assert.deepEqual(parseAtticUrl(url), { server, cacheName });
      assert.equal(cacheUrlFault(url), undefined);
    }
    assert.equal(canonicalUrl("attic://h/c/"), "attic://h/c");
  });

  it("refuses what names no server, no cache, or more", () => {
    for (const url of [
      "attic://",
      "attic://h",
      "attic://h/",
      "attic:///c",
      "attic://h/-c",
      "attic://h/c/d",
      "attic://h/c?d",
      "attic://h/c#d",
      "attic://h/c.d",
      `attic://h/${"c".repeat(51)}`,
      "attic://h:99999/c",
      "attic://h:/c",
      "attic://[::g]/c",
      "attic://999.1.1.1/c",
      "attic://u:SECRET@h/c",
      "Attic://h/c",
    ]) {
      assert.throws(() => parseAtticUrl(url), { code: "CACHE_URL_UNSUPPORTED" }, url);
      assert.doesNotMatch(cacheUrlFault(url) ?? assert.fail(url), /SECRET/);
    }
  });

  it("gives a server that is a host of the web, or a refusal, of anything", () => {
    fc.assert(
      fc.property(hostileText(["attic://h:80/c", "attic://[::1]/c", "attic://a+b/c/"]), (text) => {
        const read = valueOrRefusal("HandpickError", () => parseAtticUrl(text));
        assert.equal(read === undefined, atticUrlFault(text) !== undefined);
        if (read === undefined) return;
        const { protocol, pathname, username, search, hash } = new URL(serverUrl(read.server));
        assert.deepEqual([protocol, pathname, username + search + hash], ["https:", "/", ""]);
        assert.match(read.cacheName, /^[\w+-]{1,50}$/);
      }),
      { numRuns: FUZZ_RUNS },
    );
    assertLinear(["attic://h.h/c", "h:c", "attic:h/c"], (text) => [
      atticUrlFault(text),
      guessAtticUrl(text),
    ]);
  });
});

describe("guessAtticUrl()", () => {
  it("understands the notation of Attic's client, and URLs with too few slashes", () => {
    assert.equal(guessAtticUrl("central:mine"), "attic://central/mine");
    assert.equal(guessAtticUrl("attic:cache.example.org/mine"), "attic://cache.example.org/mine");
    assert.equal(guessAtticUrl("attic:/h:80/c"), "attic://h:80/c");
  });

  it("takes nothing else for a cache, such as a key", () => {
    for (const text of [
      "mine",
      "",
      "cachix:mine",
      "file:x",
      "attic:x",
      "a:b:c",
      "https://h/c",
      "mine-1:A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=",
    ]) {
      assert.equal(guessAtticUrl(text), undefined, text);
    }
  });
});
