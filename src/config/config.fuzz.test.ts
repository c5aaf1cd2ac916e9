import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import {
  assertLinear,
  assertQuick,
  FUZZ_RUNS,
  hostileText,
  valueOrRefusal,
} from "../../test/fuzz.ts";
import { cacheUrlFault, canonicalUrl, guessCacheUrl } from "../cache/cache-url.ts";
import { serverUrlFault } from "../cache/server-url.ts";
import { parseConfig } from "./config.ts";
import { readDhall } from "../cache/cachix/dhall-reader.ts";
import { parseCachixDhall } from "../cache/cachix/dhall.ts";
import { parseSize } from "./size.ts";

const MOST_CONFIG = 256 * 1024;
const MOST_DHALL = 64 * 1024;
const SECRET = "do-not-tell-me-8mW2";
const CONFIG = `[caches.mine]
url = "cachix://mine"
host = "http://127.0.0.1:8080"
token-file = "~/token"
token-env = "TOKEN"
upstreams = ["https://cache.nixos.org"]
compression = "xz"
compression-level = 6

[rules]
exclude = ["*-doc", "/nix/store/*"]
max-nar-size = "2 GiB"
on-hole = "fail"

[builds]
include = ["*"]
caches = ["mine"]
`;
const DHALL = `-- comment
{ authToken = "a\\u{1F600}" ++ env:TOKEN as Text
, hostname = "https://cachix.example.org"
, binaryCaches = [ { name = "mine", secretKey = ''
    two
    lines'' } ] : List { name : Text, secretKey : Text }
} // {=} {- end {- nested -} -}
`;
const dhallOptions = { file: "/f", env: { TOKEN: "token" } };
const refusedOr = <T>(parse: () => T): T | undefined => valueOrRefusal("HandpickError", parse);

describe("parseConfig(), fed with anything", () => {
  it("gives a configuration or a HandpickError", () => {
    fc.assert(
      fc.property(hostileText([CONFIG, "[caches.a]\nurl='cachix://a'\n", "a.b.c=[{}]"]), (text) => {
        const config = refusedOr(() => parseConfig(text, "/f"));
        for (const { url, name } of config?.caches ?? []) {
          assert.deepEqual([cacheUrlFault(url), /^[\w.-]+$/.test(name)], [undefined, true]);
        }
      }),
      { numRuns: FUZZ_RUNS },
    );
    assert.equal(({} as { polluted?: unknown }).polluted, undefined);
  });

  it("never quotes a token that stands where none belongs, wherever the text ends", () => {
    for (const line of [
      `token = "${SECRET}"`,
      `token-env = "${SECRET}"`,
      `host = "//${SECRET}@h"`,
    ]) {
      const text = `${CONFIG.split("\n").slice(0, 2).join("\n")}\n${line}\n[rules]\nx = 1\n`;
      for (let size = 0; size <= text.length; size++) {
        try {
          parseConfig(text.slice(0, size), "/f");
        } catch (error) {
          assert.ok(error instanceof Error && !error.message.includes(SECRET), String(error));
        }
      }
    }
  });

  it("takes a time that grows with the text", () => {
    const read = (text: string): unknown =>
      refusedOr(() => parseConfig(text.slice(0, MOST_CONFIG), "/f"));
    assertLinear([CONFIG, "[rules]\nexclude = [\n"], read);
    const tables = Array.from({ length: 9000 }, (_, index) => `[caches.a${index}]\nurl = "x"\n`);
    assertQuick("a mistake in the last of many tables", () => read(tables.join("")));
  });
});

describe("readDhall(), fed with anything", () => {
  const text = fc.string({ unit: "grapheme" });
  type Value = string | readonly Value[] | { readonly [key: string]: Value };
  const { value: anyValue } = fc.letrec<{ value: Value }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      text,
      fc.array(tie("value"), { maxLength: 3 }),
      fc.dictionary(fc.stringMatching(/^[a-zA-Z_][a-zA-Z0-9_]*$/), tie("value"), { maxKeys: 3 }),
    ),
  }));

  function print(value: Value): string {
    if (typeof value === "string") {
      const escaped = Array.from(
        value,
        (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`,
      );
      return `"${escaped.join("")}"`;
    }
    if (Array.isArray(value)) return `[${value.map(print).join(", ")}]`;
    const fields = Object.entries(value).map(([key, field]) => `\`${key}\` = ${print(field)}`);
    return `{ ${fields.join(", ") || "="} }`;
  }

  function plain(value: unknown): unknown {
    if (value instanceof Map) {
      return Object.fromEntries(Array.from(value, ([key, field]) => [key, plain(field)]));
    }
    return Array.isArray(value) ? value.map(plain) : value;
  }

  it("reads any value that is written", () => {
    fc.assert(
      fc.property(anyValue, (value) => {
        const read = plain(readDhall(print(value), dhallOptions));
        assert.equal(JSON.stringify(read), JSON.stringify(value));
      }),
      { numRuns: FUZZ_RUNS },
    );
  });

  it("gives a value or a HandpickError for any text, wherever it ends", () => {
    fc.assert(
      fc.property(hostileText([DHALL, "{=}", "''\n  a\n''"]), (hostile) => {
        refusedOr(() => parseCachixDhall(hostile, dhallOptions));
      }),
      { numRuns: FUZZ_RUNS },
    );
    for (let size = 0; size < DHALL.length; size++) {
      refusedOr(() => parseCachixDhall(DHALL.slice(0, size), dhallOptions));
    }
  });

  it("quotes nothing of a text that it refuses", () => {
    const secretive = DHALL.replace('"a\\u{1F600}"', `"${SECRET}"`);
    fc.assert(
      fc.property(fc.nat(secretive.length), fc.string({ maxLength: 3 }), (at, inserted) => {
        const broken = secretive.slice(0, at) + inserted + secretive.slice(at);
        try {
          parseCachixDhall(broken, dhallOptions);
        } catch (error) {
          assert.ok(error instanceof Error && !error.message.includes(SECRET), String(error));
        }
      }),
      { numRuns: FUZZ_RUNS },
    );
  });

  it("takes a time that grows with the text", () => {
    assertLinear([DHALL, '{a="b"}//', "''\n a", "env:A"], (long) =>
      refusedOr(() => parseCachixDhall(long.slice(0, MOST_DHALL), dhallOptions)),
    );
    const merges = Array.from({ length: 6000 }, (_, index) => `{a${index}=""}`).join("//");
    assertQuick("many records merged", () => readDhall(merges, dhallOptions));
  });
});

describe("what is read of URLs and sizes, fed with anything", () => {
  const urls = [
    "https://user:secret@host:80/a?b#c",
    "http:///host",
    "cachix://mine",
    "http://[::1]/",
  ];

  it("finds the credentials that a URL has, however it is written", () => {
    const check = (text: string): void => {
      if (serverUrlFault(text) !== undefined) return;
      const url = new URL(text);
      assert.deepEqual([url.username, url.password], ["", ""], text);
    };
    for (const text of ["http:///u:p@h", "https:////u@h/", "http://\\u:p@h", "http://h\\@u"])
      check(text);
    fc.assert(fc.property(hostileText(urls), check), { numRuns: FUZZ_RUNS });
  });

  it("gives names that are names", () => {
    fc.assert(
      fc.property(hostileText(urls), (text) => {
        if (cacheUrlFault(text) !== undefined) return;
        assert.equal(canonicalUrl(canonicalUrl(text)), canonicalUrl(text));
      }),
      { numRuns: FUZZ_RUNS },
    );
    assertLinear(urls, (text) => [cacheUrlFault(text), serverUrlFault(text), guessCacheUrl(text)]);
  });

  it("reads every size that is written, and others as whole bytes or not at all", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 999_999_999 }),
        hostileText(["1.5 GiB", "500MB"]),
        (bytes, text) => {
          assert.equal(parseSize(`${bytes}`), bytes);
          assert.equal(parseSize(`${bytes} KiB`), bytes * 1024);
          const size = parseSize(text);
          assert.ok(size === undefined || (Number.isSafeInteger(size) && size > 0));
        },
      ),
      { numRuns: FUZZ_RUNS },
    );
    assertLinear(["1.5 GiB"], parseSize);
  });
});
