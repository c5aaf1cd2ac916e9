import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { assertLinear, FUZZ_RUNS, hostileText } from "../../../test/fuzz.ts";
import { cacheUrlFault, canonicalUrl, guessCacheUrl } from "../cache-url.ts";
import { fileUrl, fileUrlFault, parseFileUrl } from "./file-url.ts";

describe("parseFileUrl()", () => {
  it("gives the folder, percent-encoding undone", () => {
    for (const [url, folder] of [
      ["file:///srv/cache", "/srv/cache"],
      ["file:////srv//./cache//", "/srv/cache"],
      ["file:///media/a%20b/%C3%BC", "/media/a b/ü"],
      ["file:///100%25", "/100%"],
      ["file:///c++/x@y:z=1,2;(3)", "/c++/x@y:z=1,2;(3)"],
      ["file:///srv/ü", "/srv/ü"],
      ["file:///a%3Fb%23c", "/a?b#c"],
    ] as const) {
      assert.equal(parseFileUrl(url), folder);
    }
  });

  it("refuses everything else, and says which rule it breaks", () => {
    for (const [url, rule] of [
      ["file://", /three slashes/],
      ["file://relative/x", /three slashes and the full name of a folder, such as file:\/\/\/srv/],
      ["file://localhost/srv", /three slashes/],
      ["file:///", /below \//],
      ["file:///.", /below \//],
      ["file:///srv/../etc", /must not contain \.\./],
      ["file:///srv/%2e%2E/etc", /must not contain \.\./],
      ["file:///srv%2Fcache", /%2F/],
      ["file:///srv/%00", /control characters/],
      ["file:///srv/%ff", /%25/],
      ["file:///50%", /%25/],
      ["file:///srv#x", /%23/],
      ["file:///~/x", /full name of a folder: ~ and variables are not known in a URL/],
      ["file://~/x", /~ and variables/],
      ["file:///${HOME}/x", /~ and variables/],
      ["file://$HOME/x", /~ and variables/],
      ["file:///nix/store", /must not lie in the Nix store/],
      ["file:///nix//store/x", /must not lie in the Nix store/],
    ] as const) {
      assert.match(fileUrlFault(url) ?? "", rule, url);
      assert.throws(() => parseFileUrl(url), { code: "CACHE_URL_UNSUPPORTED" });
    }
  });

  it("names the parameter of a Nix URL, never its value, and the key that does it", () => {
    const fault = (query: string): string => fileUrlFault(`file:///srv?${query}`) ?? "";
    assert.equal(
      fault("compression=xz"),
      'must not have parameters, found "compression"; set compression in [caches.NAME] of the configuration',
    );
    assert.match(fault("secret-key=/home/me/SECRET"), /^(?!.*SECRET).*set signing-key-file in /);
    assert.match(fault("want-mass-query=1"), /"want-mass-query", which readers set/);
    assert.match(fault("x=SECRET"), /^(?!.*SECRET).*found "x"$/);
  });
});

describe("canonicalUrl() of file://", () => {
  it("is one for all spellings of a folder, in characters that Nix takes", () => {
    for (const url of ["file:///a%20b/c", "file:////a%20b//c/", "file:///%61%20b/./c"]) {
      assert.equal(canonicalUrl(url), "file:///a%20b/c");
    }
    assert.equal(canonicalUrl("file:///ü'[x]"), "file:///%C3%BC'%5Bx%5D");
    assert.equal(canonicalUrl("file:///srv/../x"), "file:///srv/../x", "one with a fault");
  });

  it("names the same folder, whatever that is called", () => {
    const part = fc
      .string({ unit: "grapheme", minLength: 1 })
      .filter((text) => !/[/\p{Cc}]|^\.\.?$/u.test(text) && text.isWellFormed());
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 4 }), (parts) => {
        const folder = `/${parts.join("/")}`;
        const url = fileUrl(folder);
        assert.match(url, /^file:\/\/(?:\/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)+$/);
        assert.equal(parseFileUrl(url), folder);
        assert.deepEqual([cacheUrlFault(url), canonicalUrl(url)], [undefined, url]);
      }),
      { numRuns: FUZZ_RUNS },
    );
  });

  it("stays the same where it is spelled again, of any text", () => {
    const seeds = ["file:///srv/a%20b/", "file://h/../x?y#z", "file:////"];
    fc.assert(
      fc.property(hostileText(seeds), (text) => {
        if (cacheUrlFault(text) !== undefined) return;
        assert.equal(cacheUrlFault(canonicalUrl(text)), undefined);
        assert.equal(canonicalUrl(canonicalUrl(text)), canonicalUrl(text));
      }),
      { numRuns: FUZZ_RUNS },
    );
    assertLinear(seeds, (text) => [fileUrlFault(text), guessCacheUrl(text)]);
  });
});

describe("cacheUrlFault() of a folder", () => {
  it("says how a text is written as a URL", () => {
    for (const [text, fault] of [
      ["file:///media/a b", "must have %20 in place of a space"],
      ["FILE:///srv", "must have file:// in small letters"],
      ["/tmp/a b", "must be file:///tmp/a%20b, the URL of that folder"],
      ["file:/srv/x", "must be file:///srv/x, the URL of that folder"],
    ] as const) {
      assert.equal(cacheUrlFault(text), fault);
    }
    for (const text of ["file:cache", "./cache", "../cache", ".", "/"]) {
      assert.match(cacheUrlFault(text) ?? "", /^must have three slashes and the full name/, text);
    }
    for (const text of ["~/cache", "$HOME/x", "file:~/x"]) {
      assert.match(cacheUrlFault(text) ?? "", /~ and variables are not known/, text);
    }
  });

  it("does not repeat a key that begins as a path does", () => {
    assert.doesNotMatch(cacheUrlFault(`/${"SECRET".repeat(14)}==`) ?? "", /SECRET/);
  });

  it("is none where the name only resembles that of a shell or the store", () => {
    for (const folder of ["/~", "/$HOME/x", "/a/${b}", "/nix/storehouse", "/nix"]) {
      const url = fileUrl(folder);
      assert.deepEqual([cacheUrlFault(url), parseFileUrl(url)], [undefined, folder]);
    }
  });
});

describe("guessCacheUrl()", () => {
  it("takes the full name of a folder, and too few slashes, for file://", () => {
    assert.equal(guessCacheUrl("/media/usb stick/"), "file:///media/usb%20stick");
    assert.equal(guessCacheUrl("file:/srv"), "file:///srv");
    assert.equal(guessCacheUrl("/"), undefined);
    assert.equal(guessCacheUrl("/a/../b"), undefined);
  });
});
