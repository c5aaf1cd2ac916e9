import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { cacheUrlFault, canonicalUrl } from "../cache-url.ts";
import { canonicalHttpUrl, httpUrlFault, parseHttpUrl } from "./http-url.ts";

describe("canonicalHttpUrl()", () => {
  it("gives one spelling to one cache", () => {
    for (const [text, canonical] of [
      ["https://Cache.Example.org", "https://cache.example.org"],
      ["https://h:443/nix/", "https://h/nix"],
      ["http://h:80//", "http://h"],
      ["http://h:8080/a/../b/./", "http://h:8080/b"],
      ["http://[::1]:80/x", "http://[::1]/x"],
      ["https://h/A%20b", "https://h/A%20b"],
      ["https://bücher.example/", "https://xn--bcher-kva.example"],
    ] as const) {
      assert.equal(canonicalUrl(text), canonical);
      assert.equal(canonicalUrl(canonical), canonical);
    }
  });

  it("is its own spelling, whatever the path", () => {
    const path = fc.webPath();
    fc.assert(
      fc.property(path, (path) => {
        const url = canonicalHttpUrl(`http://h${path}`);
        assert.equal(canonicalHttpUrl(url), url);
        assert.equal(parseHttpUrl(url).href, `${url}/`);
      }),
    );
  });
});

describe("httpUrlFault()", () => {
  it("refuses credentials without repeating them, and says where they belong", () => {
    for (const text of ["http://me:SECRET@h/x", "https://me@h", "http:///me:SECRET@h/"]) {
      const fault = cacheUrlFault(text) ?? "";
      assert.match(fault, /^must not contain a user name or password; name a token-file or netrc/);
      assert.doesNotMatch(fault, /SECRET/);
    }
    assert.doesNotMatch(cacheUrlFault("http://me:SEC/RET@h/x") ?? "", /RET/);
  });

  it("refuses what is not sent, and says where it belongs", () => {
    for (const [text, rule] of [
      ["https://h/x?compression=xz", /found "compression"; set compression in \[caches\.NAME\]/],
      ["https://h/x?priority=3", /found "priority", which readers set in their substituters$/],
      ["https://h/x#y", /must not have a # or a \?/],
      ["https://h/x?", /must not have a # or a \?/],
      ["https://", /is not a valid URL/],
      ["https://h:99999", /is not a valid URL/],
      ["HTTPS://h", /must have https:\/\/ in small letters/],
      ["https://app.cachix.org/cache/x#y", /must be cachix:\/\/x, the URL of that cache/],
      ["https://x.cachix.org", /must be cachix:\/\/x, the URL of that cache/],
    ] as const) {
      assert.match(cacheUrlFault(text) ?? "", rule, text);
    }
    assert.equal(cacheUrlFault("https://cachix.org"), undefined);
    assert.equal(httpUrlFault("https://h"), undefined);
  });
});

describe("parseHttpUrl()", () => {
  it("gives an address to which names can be added", () => {
    assert.equal(new URL("a.narinfo", parseHttpUrl("http://h/nix")).href, "http://h/nix/a.narinfo");
  });

  it("refuses what is no address of the web", () => {
    for (const url of ["ftp://h", "file:///x", "http://a@h", "x"]) {
      assert.throws(() => parseHttpUrl(url), { code: "CACHE_URL_UNSUPPORTED" });
    }
  });
});
