import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { HandpickError } from "../../error.ts";
import { type CachixDhall, cachixDhallPath, parseCachixDhall } from "./dhall.ts";

const FILE = "/home/u/.config/cachix/cachix.dhall";

function read(text: string, env: NodeJS.ProcessEnv = {}): CachixDhall {
  return parseCachixDhall(text, { file: FILE, env });
}

function token(text: string, env?: NodeJS.ProcessEnv): string | undefined {
  return read(text, env).authToken?.reveal();
}

function failure(text: string): string {
  try {
    read(text);
  } catch (error) {
    assert.ok(error instanceof HandpickError);
    assert.equal(error.code, "CONFIG_INVALID");
    assert.notEqual(error.hint, undefined);
    return error.message;
  }
  assert.fail(`accepted ${text}`);
}

describe("cachixDhallPath()", () => {
  it("is where the cachix client keeps it", () => {
    assert.equal(cachixDhallPath({ HOME: "/home/u" }), FILE);
    assert.equal(cachixDhallPath({ XDG_CONFIG_HOME: "/x" }), "/x/cachix/cachix.dhall");
  });
});

describe("parseCachixDhall()", () => {
  it("reads a file as the cachix client writes it", () => {
    const text = `{ authToken =
    "tok.en-1"
, hostname = "https://cachix.example.org"
, binaryCaches =
  [ { name = "tools", secretKey = "a2V5MQ==" }
  , { name = "tools"
    , secretKey =
        "a2V5Mg=="
    }
  ]
}
`;
    const dhall = read(text);
    assert.equal(dhall.authToken?.reveal(), "tok.en-1");
    assert.equal(dhall.hostname, "https://cachix.example.org");
    assert.deepEqual(
      dhall.binaryCaches.map(({ name, secretKey }) => [name, secretKey.reveal()]),
      [
        ["tools", "a2V5MQ=="],
        ["tools", "a2V5Mg=="],
      ],
    );
    assert.deepEqual(dhall.warnings, []);
  });

  it("reads one-line templates with a typed empty list, keys in any order", () => {
    const dhall = read(
      '{binaryCaches=[]:List {name : Text, secretKey : Text},authToken="t",hostname="http://h"}\n',
    );
    assert.equal(dhall.authToken?.reveal(), "t");
    assert.deepEqual(dhall.binaryCaches, []);
  });

  it("takes absent keys and empty text as absent", () => {
    assert.equal(read("{=}").authToken, undefined);
    assert.equal(token('{ authToken = "" }'), undefined);
    assert.equal(read('{ authToken = "t" }').hostname, undefined);
  });

  it("passes over both kinds of comment, nested ones too", () => {
    assert.equal(token('-- a {-\n{- b {- c -} -- -} { authToken = {- d -} "t" -- e\n}'), "t");
  });

  it("understands every escape of text", () => {
    const text = String.raw`{ authToken = "\"\\\$\n\r\t\b\f\/\u0041\u{1F600}$é" }`;
    assert.equal(token(text), '"\\$\n\r\t\b\f/A😀$é');
  });

  it("takes the common indentation off '' text", () => {
    const cases: [text: string, expected: string][] = [
      ["''\n    a\n      b\n\n    c''", "a\n  b\n\nc"],
      ["''\n    a\n    b\n  ''", "  a\n  b\n"],
      ["''\r\n\ta\r\n\t''", "a\n"],
      ["''\n'''x''${y}''", "''x${y}"],
    ];
    for (const [text, expected] of cases) {
      assert.equal(token(`{ authToken = ${text} }`), expected);
    }
  });

  it("evaluates ++, //, parentheses, annotations and env imports", () => {
    const env = { TOKEN: "from env" };
    assert.equal(token('{ authToken = "a" ++ ("b" ++ "c") }'), "abc");
    assert.equal(token('{ authToken = "a" } // { authToken = "b" }'), "b");
    assert.equal(token('({ authToken = "a" } ⫽ {=} : { authToken : Text })'), "a");
    assert.equal(token("{ authToken = env:TOKEN as Text }", env), "from env");
    assert.equal(token('{ , `authToken` = ("t" : (Text)), }'), "t");
    assert.equal(token('{ authToken = "t", binaryCaches = [ , ] : List { , name : Text, } }'), "t");
  });

  it("warns of an empty file, unknown keys and keys without a name", () => {
    assert.deepEqual(read(" -- nothing\n").warnings, [`${FILE} is empty`]);
    assert.deepEqual(read('{ authTokn = "t" }').warnings, [
      `${FILE} has an unknown key "authTokn"`,
    ]);
    const dhall = read('{ binaryCaches = [ { name = "a", publicKey = "k" } ] }');
    assert.deepEqual(dhall.binaryCaches, []);
    assert.deepEqual(dhall.warnings, [
      `binaryCaches[0] of ${FILE} has an unknown key "publicKey"`,
      `binaryCaches[0] of ${FILE} is ignored: it needs name and secretKey`,
    ]);
  });

  it("names line and column of what is beyond the subset", () => {
    const cases: [text: string, expected: string][] = [
      ['let x = "t" in { authToken = x }', ':1:5: "let" is not supported'],
      ["{ authToken =\n  ./token as Text }", ":2:3: imports are not supported"],
      ["{ authToken = https://example.org/x as Text }", "imports are not supported"],
      ["{ authToken = env:TOKEN }", "imports are not supported, except env:NAME as Text"],
      ["{ authToken = env:TOKEN as Text }", 'variable "TOKEN" is not in the environment'],
      ['{ authToken = "${x}" }', ":1:16: interpolation in text is not supported"],
      ["{ authToken = ''\n${x}'' }", ":2:1: interpolation in text is not supported"],
      ["\\(x : Text) -> x", ":1:1: functions are not supported"],
      ["{ authToken = 5 }", ":1:15: expected a record, a list or text"],
      ['{ authToken : "t" }', "expected = after a key"],
      ['{ authToken = "t" hostname = "h" }', "expected , or }"],
      ['{ authToken = "t", authToken = "u" }', "expected each key once"],
      ['{ "authToken" = "t" }', "expected a key or }"],
      ['{ binaryCaches = [ "a" "b" ] }', "expected , or ]"],
      ["{ binaryCaches = [] : Natural }", "expected a type"],
      ["{ binaryCaches = [] : { 1 } }", "expected a key or }"],
      ["{ binaryCaches = [] : { a = Text } }", "expected : after a key of a type"],
      ["{ binaryCaches = [] : { a : Text b } }", "expected , or }"],
      ["{ binaryCaches = [] : (Text }", "expected )"],
      ['{ authToken = ("t" }', "expected )"],
      ['{ authToken = "t" } }', ":1:21: expected the end of the file"],
      ['{ authToken = "t', "expected text without line breaks and its closing quote"],
      [String.raw`{ authToken = "\q" }`, "expected text without line breaks"],
      [String.raw`{ authToken = "\uD800" }`, "expected a character's number"],
      [String.raw`{ authToken = "\u{110000}" }`, "expected a character's number"],
      ["{ authToken = ''t'' }", "expected a line break after ''"],
      ["{ authToken = ''\nt }", "expected the closing '' of a text"],
      ["{ authToken = {- {- -} }", "expected the end of a comment"],
      ['{ authToken = "a" ++ {=} }', "expected text on both sides of ++"],
      ['{ authToken = "a" // {=} }', "expected records on both sides of //"],
      ["(".repeat(40), "nested too deeply"],
      [`{ a = [] : ${"List ".repeat(40)} }`, "nested too deeply"],
    ];
    for (const [text, expected] of cases) {
      const message = failure(text);
      assert.ok(message.startsWith(`Cannot read ${FILE}:`), message);
      assert.ok(message.includes(expected), `${message}\nlacks ${expected}`);
    }
  });

  it("refuses values of the wrong type", () => {
    const cases: [text: string, expected: string][] = [
      ['"t"', "the file must be a record"],
      ["{ authToken = [] }", "authToken must be text"],
      ['{ hostname = "cachix.org" }', "hostname must be a URL"],
      ['{ binaryCaches = "a" }', "binaryCaches must be a list"],
      ['{ binaryCaches = ["a"] }', "binaryCaches[0] must be a record"],
      ["{ binaryCaches = [{ name = [], secretKey = [] }] }", "name must be text"],
    ];
    for (const [text, expected] of cases) assert.ok(failure(text).includes(expected), text);
  });

  it("never repeats a token or key, wherever the text breaks off or goes on", () => {
    const whole =
      '{ authToken = "SECRET1", binaryCaches = [ { name = "a", secretKey = "SECRET2" } ] }';
    const texts = Array.from(whole, (_, end) => whole.slice(0, end));
    for (const text of [...texts, "{ authToken = SECRET }", `${whole} SECRET`, "SECRET"]) {
      try {
        read(text);
      } catch (error) {
        assert.ok(error instanceof HandpickError);
        assert.doesNotMatch(`${error.message} ${error.hint}`, /SECRET/);
      }
    }
  });

  it("answers any text with a value or CONFIG_INVALID", () => {
    const word = fc.constantFrom(
      "{",
      "}",
      "[",
      "]",
      "a",
      "=",
      ",",
      '"',
      "''",
      "\n",
      ":",
      "++",
      "//",
    );
    const text = fc.array(fc.oneof(word, fc.string({ maxLength: 3 }))).map((all) => all.join(" "));
    fc.assert(
      fc.property(text, (input) => {
        try {
          read(input);
        } catch (error) {
          assert.ok(error instanceof HandpickError && error.code === "CONFIG_INVALID");
        }
      }),
      { numRuns: 500 },
    );
  });

  it("reads back any text that is escaped", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", minLength: 1 }), (value) => {
        fc.pre(value.trim() !== "");
        const units = Array.from(value, (c) => `\\u{${(c.codePointAt(0) ?? 0).toString(16)}}`);
        assert.equal(token(`{ authToken = "${units.join("")}" }`), value);
      }),
    );
  });
});
