import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { cacheUrlFault, canonicalUrl, guessCacheUrl } from "./cache-url.ts";
import { KINDS, kindOf, urlForms } from "./kinds.ts";

describe("KINDS", () => {
  it("have a scheme each, and an example that is theirs and canonical", () => {
    assert.equal(new Set(KINDS.map(({ scheme }) => scheme)).size, KINDS.length);
    for (const kind of KINDS) {
      assert.equal(kindOf(kind.example), kind);
      assert.equal(cacheUrlFault(kind.example), undefined);
      assert.equal(canonicalUrl(kind.example), kind.example);
      assert.ok(urlForms().includes(kind.form));
    }
  });

  it("take no URL of each other, nor a scheme that only begins like theirs", () => {
    for (const { scheme } of KINDS) {
      assert.equal(kindOf(`${scheme}sx://x`), undefined);
      assert.equal(kindOf(`${scheme}:x`), undefined);
    }
  });

  it("take a token-file if they take tokens, and only then", () => {
    for (const { keys, token } of KINDS) {
      const isTaken = token !== undefined;
      assert.deepEqual([keys.has("token-file"), keys.has("token-env")], [isTaken, isTaken]);
    }
  });
});

describe("guessCacheUrl()", () => {
  it("gives the cachix:// that a page, an address or a name stands for", () => {
    for (const text of ["x", "cachix:x", "x.cachix.org", "https://app.cachix.org/cache/x#y"]) {
      assert.equal(guessCacheUrl(text), "cachix://x");
    }
    for (const text of ["", "a b", "https://cachix.org", "https://evilcachix.org/x"]) {
      assert.equal(guessCacheUrl(text), undefined);
    }
  });
});

describe("isOwnHost()", () => {
  it("is true of Cachix's servers by TLS on its usual port, and of no other", () => {
    const cachix = kindOf("cachix://x");
    for (const host of ["https://cachix.org", "https://api.cachix.org/x", "https://cachix.org:443"])
      assert.equal(cachix?.isOwnHost(new URL(host)), true, host);
    for (const host of [
      "http://cachix.org",
      "https://cachix.org:8443",
      "https://evilcachix.org",
      "https://cachix.org.evil.example",
      "http://127.0.0.1",
    ])
      assert.equal(cachix?.isOwnHost(new URL(host)), false, host);
  });
});
