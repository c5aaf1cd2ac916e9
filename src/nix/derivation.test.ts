import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { FUZZ_RUNS, hostileBytes, valueOrRefusal } from "../../test/fuzz.ts";
import { createTestNix } from "../../test/nix.ts";
import { type Derivation, parseDerivation } from "./derivation.ts";

const VECTORS = new URL("../../test/vectors/drv/", import.meta.url);
const FILES = readdirSync(VECTORS);
const read = (part: string): Buffer => {
  const name = FILES.find((file) => file.includes(part));
  assert.ok(name !== undefined);
  return readFileSync(new URL(name, VECTORS));
};
const HASH = "y9v4w1kf41c10q7fdxlbz10s0adiximd";
const refused = { name: "FormatError", format: "derivation" };

/** The derivation with this environment and nothing else. */
function withEnv(env: Readonly<Record<string, string>>): Derivation {
  const pairs = Object.entries(env).map(([key, value]) => `(${aterm(key)},${aterm(value)})`);
  return parseDerivation(`Derive([],[],[],"s","b",[],[${pairs.join(",")}])`);
}

/** As Nix escapes strings. */
function aterm(text: string): string {
  const names = new Map([
    ["\n", "n"],
    ["\r", "r"],
    ["\t", "t"],
  ]);
  return `"${text.replaceAll(/["\\\n\r\t]/g, (character) => `\\${names.get(character) ?? character}`)}"`;
}

describe("parseDerivation()", () => {
  it("reads outputs, inputs and environment", () => {
    const derivation = parseDerivation(read("-hello-1.2"));
    assert.deepEqual(
      [...derivation.outputs],
      [
        [
          "dev",
          {
            path: "/nix/store/zcynmcs8jdg7ybqma9x9qsafg7bq1rc5-hello-1.2-dev",
            hashAlgorithm: "",
            hash: "",
          },
        ],
        [
          "out",
          {
            path: "/nix/store/xdj60n0hp3m888jyqla42fv4ygl6p1av-hello-1.2",
            hashAlgorithm: "",
            hash: "",
          },
        ],
      ],
    );
    assert.deepEqual(
      [...derivation.inputDrvs],
      [["/nix/store/sinxa9h1zjjj6c3fvnqzwjr2mvnv97ig-dep-1.0.drv", ["out"]]],
    );
    assert.deepEqual(derivation.inputSrcs, []);
    assert.deepEqual([derivation.system, derivation.builder], ["x86_64-linux", "/bin/sh"]);
    assert.equal(derivation.args[0], "-c");
    assert.equal(derivation.env.get("outputs"), "out dev");
  });

  it("reads escapes and fixed outputs", () => {
    const derivation = parseDerivation(read("-plain-2.0"));
    assert.equal(derivation.env.get("esc"), 'a"b\\c\nd\te\rf${g}é');
    assert.equal(derivation.env.get("empty"), "");
    assert.deepEqual(derivation.outputs.get("out"), {
      path: "/nix/store/z70g1yrhzmrqa5h8fcnyw15jqnwsi08z-plain-2.0",
      hashAlgorithm: "sha256",
      hash: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    });
  });

  it("reads floating outputs, and sources beside derivations", () => {
    const floating = { path: undefined, hashAlgorithm: "r:sha256", hash: "" };
    assert.deepEqual(parseDerivation(read("l7phls")).outputs.get("out"), floating);
    assert.deepEqual(parseDerivation(read("b48jb5")).inputSrcs, [
      "/nix/store/rbfzf1lmd5rqw5b12kav8mbnijkvywpj-ca-a",
    ]);
  });

  it("reads what real Nix writes today", async () => {
    await using nix = await createTestNix();
    const expression = String.raw`derivation {
      name = "real-3.1"; system = "s"; builder = "/b"; outputs = [ "out" "doc" ];
      args = [ "q\"\\" "" "é" ]; list = [ 1 "two" ]; yes = true; no = false;
    }`;
    const { stdout } = await nix.run("nix-instantiate", ["-E", expression]);
    const derivation = parseDerivation(await readFile(stdout.trim()));
    assert.deepEqual([...derivation.outputs.keys()], ["doc", "out"]);
    assert.deepEqual(derivation.args, ['q"\\', "", "é"]);
    assert.deepEqual(
      ["list", "yes", "no", "name"].map((key) => derivation.env.get(key)),
      ["1 two", "1", "", "real-3.1"],
    );
  });

  it("reads any strings", () => {
    const strings = fc.dictionary(fc.string({ unit: "binary" }), fc.string({ unit: "binary" }));
    fc.assert(
      fc.property(strings, (env) => {
        assert.deepEqual(withEnv(env).env, new Map(Object.entries(env)));
      }),
    );
  });

  it("gives a derivation or a FormatError for any bytes", () => {
    const samples = FILES.map((name) => readFileSync(new URL(name, VECTORS)));
    fc.assert(
      fc.property(hostileBytes(samples), (bytes) => {
        valueOrRefusal("FormatError", () => parseDerivation(bytes));
      }),
      { numRuns: FUZZ_RUNS },
    );
  });

  it("puts U+FFFD where bytes are not UTF-8, and keeps a byte order mark", () => {
    const bytes = Buffer.concat([
      Buffer.from('Derive([],[],[],"s","\ufeffb",["'),
      Buffer.of(0xff),
      Buffer.from('"],[])'),
    ]);
    const derivation = parseDerivation(bytes);
    assert.deepEqual([derivation.builder, derivation.args], ["\ufeffb", ["\ufffd"]]);
  });

  it("is not held up or thrown off by size", () => {
    const long = `${"\\n".repeat(1_000_000)}${"a".repeat(1_000_000)}`;
    const many = `${'"",'.repeat(300_000)}""`;
    const derivation = parseDerivation(`Derive([],[],[],"s","b",["${long}",${many}],[])`);
    assert.equal(derivation.args[0]?.length, 2_000_000);
    assert.equal(derivation.args.length, 300_002);
    assert.throws(() => parseDerivation("[".repeat(1_000_000)), refused);
  });

  for (const [what, text] of [
    ["nothing", ""],
    ["a beginning", 'Derive([],[],[],"s","b",['],
    ["a string without end", 'Derive([],[],[],"s'],
    ["a string that ends in a backslash", 'Derive([],[],[],"s\\'],
    ["anything behind the end", 'Derive([],[],[],"s","b",[],[])\n'],
    ["a list without commas", 'Derive([],[],[],"s","b",["a""b"],[])'],
    ["a list that ends in a comma", 'Derive([],[],[],"s","b",["a",],[])'],
    ["spaces", 'Derive([], [],[],"s","b",[],[])'],
    ["an output without its four strings", 'Derive([("out","","")],[],[],"s","b",[],[])'],
    ["an output that is not a store path", 'Derive([("out","/tmp/x","","")],[],[],"s","b",[],[])'],
    ["an input without folder", `Derive([],[],["${HASH}-x"],"s","b",[],[])`],
    ["a byte order mark in front", '\ufeffDerive([],[],[],"s","b",[],[])'],
  ] as const) {
    it(`refuses ${what}`, () => {
      assert.throws(() => parseDerivation(text), refused);
      assert.throws(() => parseDerivation(Buffer.from(text)), refused);
    });
  }

  it("refuses dynamic derivations by name", () => {
    const dynamic = 'DrvWithVersion("xp-dyn-drv",[],[],[],"s","b",[],[])';
    assert.throws(() => parseDerivation(dynamic, "x.drv"), {
      ...refused,
      message: /^Cannot read derivation "x\.drv": Dynamic derivations are/,
    });
  });

  it("refuses more than 64 MiB unread", () => {
    assert.throws(() => parseDerivation(new Uint8Array(2 ** 26 + 1)), { message: /64 MiB/ });
  });
});
