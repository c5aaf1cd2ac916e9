import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { FUZZ_RUNS, hostileText, valueOrRefusal } from "../../test/fuzz.ts";
import {
  formatHash,
  type HashAlgorithm,
  type HashSpelling,
  parseHash,
  parseSha256,
  sha256Digest,
  sha256FromDigest,
  sha256FromHex,
  sha256ToHex,
} from "./hash.ts";

interface Vector {
  readonly file: string;
  readonly algo: HashAlgorithm;
  readonly base16: string;
  readonly nix32: string;
  readonly base64: string;
  readonly sri: string;
}

const VECTORS: readonly Vector[] = JSON.parse(
  readFileSync(new URL("../../test/vectors/hashes.json", import.meta.url), "utf8"),
);
const SPELLINGS: readonly HashSpelling[] = ["nix32", "base16", "base64", "sri"];
const refused = { name: "FormatError" };

describe("parseHash() and formatHash()", () => {
  for (const { file, algo, base16, nix32, base64, sri } of VECTORS) {
    it(`turn every spelling of the ${algo} of ${file} into every other, as Nix does`, () => {
      const spellings = [`${algo}:${nix32}`, `${algo}:${base16}`, `${algo}:${base64}`, sri];
      for (const text of [...spellings, nix32, base16, base64, base16.toUpperCase()]) {
        const hash = parseHash(text, algo);
        assert.deepEqual(
          SPELLINGS.map((spelling) => formatHash(hash, spelling)),
          spellings,
        );
      }
      for (const text of spellings) assert.equal(parseHash(text).algorithm, algo);
    });
  }

  it("agree with nix-hash on a hash of today", () => {
    const hex = randomBytes(32).toString("hex");
    const nix32 = execFileSync("nix-hash", ["--type", "sha256", "--to-base32", hex]);
    assert.equal(
      formatHash(parseHash(hex, "sha256"), "nix32"),
      `sha256:${nix32.toString().trim()}`,
    );
  });

  it("give a hash or a FormatError for any text", () => {
    const texts = VECTORS.flatMap(({ algo, base16, nix32, sri }) => [
      `${algo}:${base16}`,
      nix32,
      sri,
    ]);
    fc.assert(
      fc.property(
        hostileText(texts),
        fc.constantFrom(undefined, "sha256" as const),
        (text, algorithm) => {
          const hash = valueOrRefusal("FormatError", () => parseHash(text, algorithm));
          if (hash !== undefined) assert.deepEqual(parseHash(formatHash(hash, "sri")), hash);
        },
      ),
      { numRuns: FUZZ_RUNS },
    );
  });
});

describe("parseHash()", () => {
  const sri = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
  for (const [what, text] of [
    ["no algorithm", "0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73"],
    ["an unknown algorithm", "blake3:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73"],
    ["an inherited property as algorithm", "constructor:00"],
    ["nothing", ""],
    ["a digest of another length", "sha256:d41d8cd98f00b204e9800998ecf8427e"],
    ["hexadecimal with a stray letter", `sha256:${"g".repeat(64)}`],
    ["SRI with nix32", "sha256-0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73"],
    ["base64 without padding", sri.slice(0, -1)],
    ["base64 of the URL alphabet", sri.replace("+", "-").replace("/", "_")],
    ["base64 with surplus bits", sri.replace("U=", "V=")],
    ["a line feed behind", `${sri}\n`],
  ] as const) {
    it(`refuses ${what}`, () => {
      assert.throws(() => parseHash(text), refused);
    });
  }

  it("refuses another algorithm than asked for", () => {
    assert.throws(() => parseHash(sri, "sha512"), { ...refused, message: /expected sha512/ });
  });
});

describe("Sha256", () => {
  const digest = createHash("sha256").update("").digest();
  const canonical = "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73";

  it("has one spelling, whatever it is made from", () => {
    assert.equal(sha256FromDigest(digest), canonical);
    assert.equal(sha256FromHex(digest.toString("hex")), canonical);
    for (const text of [digest.toString("hex"), `sha256-${digest.toString("base64")}`, canonical]) {
      assert.equal(parseSha256(text), canonical);
    }
  });

  it("gives back its bytes and its hexadecimal digits", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (bytes) => {
        const hash = sha256FromDigest(bytes);
        assert.deepEqual(sha256Digest(hash), bytes);
        assert.equal(sha256ToHex(hash), Buffer.from(bytes).toString("hex"));
        assert.equal(sha256FromHex(sha256ToHex(hash)), hash);
      }),
    );
  });

  it("is never made of something else", () => {
    assert.throws(() => sha256FromDigest(new Uint8Array(31)), refused);
    assert.throws(() => sha256FromHex("sha256:00"), refused);
    assert.throws(() => sha256FromHex("zz".repeat(32)), refused);
    assert.throws(() => parseSha256("sha1:143xibwh31h9bvxzalr0sjvbbvpa6ffs"), refused);
  });
});
