import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { FUZZ_RUNS, hostileText, valueOrRefusal } from "../../test/fuzz.ts";
import { NewerManifestError, parseManifest } from "./manifest.ts";

const PATH = "/nix/store/y9v4w1kf41c10q7fdxlbz10s0adiximd-dep-1.0";
const PICK = { name: "dep", paths: [PATH] };
const FULL = {
  version: 1,
  name: "home-manager",
  picks: [
    {
      ...PICK,
      closure: "build",
      caches: ["mine", "cachix://ours", "file:///srv/a%20b"],
      exclude: ["*-doc"],
      pin: "dep",
    },
    { ...PICK, closure: "self", paths: [] },
  ],
};
const refused = { name: "FormatError", format: "manifest" };

const manifest = (fields: object): string =>
  JSON.stringify({ version: 1, name: "home-manager", picks: [], ...fields });
const pick = (fields: object): string => manifest({ picks: [PICK, { ...PICK, ...fields }] });

function messageFor(text: string): string {
  try {
    parseManifest(text);
  } catch (error) {
    assert.ok(error instanceof Error);
    assert.equal(error.name, "FormatError");
    return error.message.replace(/^Cannot read manifest: /, "");
  }
  return assert.fail("it was read");
}

describe("parseManifest()", () => {
  it("reads everything there is", () => {
    const [first, second] = parseManifest(JSON.stringify(FULL)).picks;
    assert.deepEqual(first, FULL.picks[0]);
    assert.deepEqual(second?.paths, []);
  });

  it("fills in what may be absent or null", () => {
    const expected = [
      { ...PICK, closure: "runtime", caches: undefined, exclude: [], pin: undefined },
    ];
    const absent = manifest({ picks: [PICK] });
    const empty = { closure: null, caches: null, exclude: null, pin: null };
    assert.deepEqual(parseManifest(absent).picks, expected);
    assert.deepEqual(parseManifest(manifest({ picks: [{ ...PICK, ...empty }] })).picks, expected);
  });

  it("skips hints, whatever is in them", () => {
    const [plain] = parseManifest(pick({})).picks.slice(1);
    const hints = { licences: ["MIT"], version: 7, deep: [{ a: null }] };
    for (const skipped of [hints, {}, null]) {
      assert.deepEqual(parseManifest(pick({ hints: skipped })).picks[1], plain);
    }
  });

  it("tells a later version from one that never was", () => {
    for (const version of [2, 3, 1e300]) {
      assert.throws(() => parseManifest(manifest({ version })), NewerManifestError);
    }
    for (const version of [0, -1, "2", null, [2]]) {
      assert.throws(
        () => parseManifest(manifest({ version })),
        (error: Error) => !(error instanceof NewerManifestError) && error.name === "FormatError",
      );
    }
  });

  it("bounds hints in size, however deep they are", () => {
    const deep = (levels: number): string => `{"a":${"[".repeat(levels)}${"]".repeat(levels)}}`;
    const withHints = (hints: string): string =>
      pick({ hints: 0 }).replace('"hints":0', `"hints":${hints}`);
    parseManifest(withHints(deep(60_000)));
    for (const hints of [
      deep(70_000),
      JSON.stringify({ a: "x".repeat(65_536) }),
      JSON.stringify({ ["x".repeat(65_536)]: 1 }),
      JSON.stringify({ a: Array(65_536).fill(0) }),
    ]) {
      assert.match(messageFor(withHints(hints)), /^picks\[1\]\.hints: expected at most 65536 /);
    }
  });

  it("reads paths of the store that it is told of", () => {
    const text = manifest({ picks: [PICK] }).replace("/nix/store", "/s");
    const { picks } = parseManifest(text, { storeDir: "/s" });
    assert.deepEqual(picks[0]?.paths, [PATH.replace("/nix/store", "/s")]);
    assert.throws(() => parseManifest(text), refused);
  });

  it("gives a manifest that comes out the same, or a FormatError, for any text", () => {
    fc.assert(
      fc.property(hostileText([JSON.stringify(FULL), manifest({})]), (text) => {
        const read = valueOrRefusal("FormatError", () => parseManifest(text));
        if (read !== undefined) assert.deepEqual(parseManifest(JSON.stringify(read)), read);
      }),
      { numRuns: FUZZ_RUNS },
    );
  });

  it("gives a manifest or a FormatError for any JSON", () => {
    const json = fc.json();
    const field = fc.constantFrom(...Object.keys(FULL.picks[0] ?? {}));
    fc.assert(
      fc.property(json, field, (text, key) => {
        const value: unknown = JSON.parse(text);
        valueOrRefusal("FormatError", () => parseManifest(text));
        valueOrRefusal("FormatError", () => parseManifest(manifest({ picks: value })));
        valueOrRefusal("FormatError", () => parseManifest(pick({ [key]: value })));
      }),
      { numRuns: FUZZ_RUNS },
    );
  });
});

describe("parseManifest(), where it says what is wrong:", () => {
  const label = "expected 1 to 255 printable characters";
  for (const [text, message] of [
    ["[]", "the document: expected an object, found a list of 0"],
    ["null", "the document: expected an object, found null"],
    ["{}", "version: expected 1, found nothing"],
    ['{"version":2,"new":0}', "version: expected 1, found 2"],
    [manifest({ version: 0 }), "version: expected 1, found 0"],
    [manifest({ version: "1" }), 'version: expected 1, found "1"'],
    [manifest({ nmae: "x" }), 'unknown key "nmae", nearest is "name"'],
    [manifest({ zzzzzz: "x" }), 'unknown key "zzzzzz", expected version, name, picks'],
    [
      manifest({ name: "../x" }),
      'name: expected a name of letters, digits and ._+@-, found "../x"',
    ],
    [manifest({ name: {} }), "name: expected a name of letters, digits and ._+@-, found an object"],
    [manifest({ picks: {} }), "picks: expected a list of at most 100000, found an object"],
    [manifest({ picks: [1] }), "picks[0]: expected an object, found 1"],
    [pick({ closrue: "self" }), 'unknown key "picks[1].closrue", nearest is "closure"'],
    [pick({ name: "" }), `picks[1].name: ${label}, found ""`],
    [pick({ name: "\u001b[2J" }), String.raw`picks[1].name: ${label}, found "\u001b[2J"`],
    [pick({ name: "a\ud800" }), String.raw`picks[1].name: ${label}, found "a\ud800"`],
    [pick({ name: "a".repeat(256) }), `picks[1].name: ${label}, found "${"a".repeat(80)}…"`],
    [pick({ paths: PATH }), `picks[1].paths: expected a list of at most 100000, found "${PATH}"`],
    [
      pick({ paths: [PATH, "/tmp"] }),
      'picks[1].paths[1]: expected a store path in /nix/store, found "/tmp"',
    ],
    [pick({ paths: [true] }), "picks[1].paths[0]: expected a store path in /nix/store, found true"],
    [
      pick({ closure: "sel" }),
      'picks[1].closure: expected one of runtime, self, build, found "sel"',
    ],
    [pick({ caches: [] }), "picks[1].caches: expected at least one cache, found a list of 0"],
    [
      pick({ caches: ["a b"] }),
      'picks[1].caches[0]: expected the name of a cache or a URL such as cachix://NAME or file:///DIR, found "a b"',
    ],
    [
      pick({ caches: ["https://u:p@mine"] }),
      'picks[1].caches[0]: expected the name of a cache or a URL such as cachix://NAME or file:///DIR, found "https://u:p@mine"',
    ],
    [
      pick({ exclude: ["*-doc", "[a"] }),
      'picks[1].exclude[1]: expected a glob such as "*-doc" or a full store path, found "[a"',
    ],
    [pick({ hints: [] }), "picks[1].hints: expected an object, found a list of 0"],
    [pick({ hints: "x" }), 'picks[1].hints: expected an object, found "x"'],
    [pick({ hint: {} }), 'unknown key "picks[1].hint", nearest is "hints"'],
    [pick({ pin: "a\u202eb" }), String.raw`picks[1].pin: ${label}, found "a\u202eb"`],
  ] as const) {
    it(message.slice(0, 70), () => {
      assert.equal(messageFor(text), message);
    });
  }

  it("not JSON, with the parser's own words as cause", () => {
    assert.match(messageFor("{"), /^not JSON: ".*position 1/);
    assert.throws(
      () => parseManifest("{"),
      (error: Error) => error.cause instanceof SyntaxError,
    );
  });

  it("too long a document or list", () => {
    assert.match(messageFor(" ".repeat(2 ** 24 + 1)), /longer than 16 MiB/);
    assert.match(messageFor(manifest({ picks: Array(100_001).fill(0) })), /found a list of 100001/);
  });
});
