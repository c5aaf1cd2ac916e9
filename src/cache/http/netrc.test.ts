import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { FormatError } from "../../nix/format-error.ts";
import { findLogin, netrcWord } from "./netrc.ts";

/** User and password as Basic authentication has them. */
function found(text: string, host = "h.example"): string | undefined {
  const login = findLogin(text, host);
  return login && `${login.user}:${login.password.reveal()}`;
}

describe("findLogin()", () => {
  it("finds the entry of a host, on one line or on several", () => {
    const text =
      "machine other login a password b\nmachine\n H.Example\n\tlogin me\r\n password pw\n";
    assert.equal(found(text), "me:pw");
    assert.equal(found(text, "other"), "a:b");
    assert.equal(found(text, "third"), undefined);
    assert.equal(found("machine ::1 login a password b", "[::1]"), "a:b");
  });

  it("takes the first entry that fits, that of all hosts too", () => {
    const text = "machine h.example login 1 password 1\nmachine h.example login 2 password 2";
    assert.equal(found(`${text}\ndefault login d password d`), "1:1");
    assert.equal(found(`default login d password d\n${text}`), "d:d");
    assert.equal(found(`${text}\ndefault login d password d`, "third"), "d:d");
  });

  it("takes an entry without a user, as Cachix writes it, or without a password", () => {
    assert.equal(found("machine h.example password token"), ":token");
    assert.equal(found("machine h.example login me"), "me:");
    assert.equal(found("machine h.example account x\nmachine b login c"), undefined);
  });

  it("leaves out comments, macros and accounts", () => {
    assert.equal(found("# machine h.example login a\nmachine h.example login me"), "me:");
    const macro =
      "machine h.example login me\nmacdef init\nmachine h.example\npassword x\n\npassword pw";
    assert.equal(found(macro), "me:pw");
    assert.equal(found("machine h.example account login login me password macdef"), "me:macdef");
    assert.equal(found("machine machine login x\nmachine h.example login me"), "me:");
  });

  it("reads quotes as curl does", () => {
    const text = String.raw`machine h.example login "a b" password "\"#\\\n"`;
    assert.throws(() => found(text), /control characters/);
    assert.equal(found(text.replace(String.raw`\n`, "")), 'a b:"#\\');
    assert.equal(found('machine h.example login "" password pa"ss'), ':pa"ss');
  });

  it("refuses what no server understands, and repeats none of it", () => {
    for (const [text, message] of [
      ['machine h\nmachine h.example password "SECRET', /line 2 has a quote without end$/],
      ['machine h.example password "SECRET\\"', /line 1 has a quote without end$/],
      ['machine h.example password "', /line 1 has a quote without end$/],
      ["machine h.example login a:SECRET password x", /no colon$/],
      ["machine h.example password SECRET\u0007", /no control characters$/],
    ] as const) {
      assert.throws(
        () => found(text),
        (error: unknown) => {
          assert.ok(error instanceof FormatError);
          assert.match(error.message, message);
          assert.doesNotMatch(error.message, /SECRET/);
          return true;
        },
      );
    }
  });

  it("throws nothing else, whatever it reads", () => {
    const word = fc.constantFrom("machine", "default", "macdef", "login", "password", "h.example");
    const piece = fc.oneof(word, fc.constantFrom(" ", "\n", '"', "\\", "#"), fc.string());
    fc.assert(
      fc.property(fc.array(piece), (pieces) => {
        try {
          found(pieces.join(""));
        } catch (error) {
          assert.ok(error instanceof FormatError);
        }
      }),
    );
  });
});

describe("netrcWord()", () => {
  it("leaves plain words as they are, which every curl reads", () => {
    for (const word of ["t0ken", 'a"b', "a\\b", "password", "a#b"])
      assert.equal(netrcWord(word), word);
  });

  it("is read back as it was", () => {
    const word = fc
      .string({ unit: "grapheme" })
      .filter((text) => !/[\p{Cc}\u2028\u2029]/u.test(text));
    fc.assert(
      fc.property(word, word, (user, password) => {
        fc.pre(!user.includes(":"));
        const text = `machine h.example login ${netrcWord(user)} password ${netrcWord(password)}\n`;
        assert.equal(found(text), `${user}:${password}`);
      }),
    );
  });
});
