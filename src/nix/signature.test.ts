import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { FUZZ_RUNS, hostileText, valueOrRefusal } from "../../test/fuzz.ts";
import { parseSha256 } from "./hash.ts";
import { generateSecretKey, parsePublicKey, parseSecretKey, publicKeyOf } from "./key.ts";
import {
  fingerprint,
  parseSignature,
  type Signed,
  signFingerprint,
  verifyFingerprint,
} from "./signature.ts";
import { fromBaseName } from "./store-path.ts";

/** Signed by a live Cachix cache. */
const LIVE_KEY = parsePublicKey("mB9FSh9qf2dCimDSUo8Zy7bkq5CX+/rkCWyvRCYg3Fs=");
const SOURCE = signed("rcxcrs4d7rnlzj2kv3yafcrbn9bjwhxy-source", {
  narHash: "0l2bwq4b7fycfmzpnaldyqnmk7s809wqwnqshsnl91swzx46kkv2",
  narSize: 752_968,
  references: [],
});
const SCRIPT = signed("7k3i624w0rfrvcrbbdrw0zrvasywxmz4-check-link-targets.sh", {
  narHash: "0v4mgmqzp5s7mscgad21nr49svk97y7pq0y49i11k1hii04syj74",
  narSize: 2312,
  references: [
    "7m5x92fbfc3zxqmbkhl5fqqydsmdpggb-hm-modules-messages",
    "zhrjg6wxrxmdlpn6iapzpp2z2vylpvw5-home-manager.sh",
  ],
});
const OTHER_SOURCE = signed("yj1wxm9hh8610iyzqnz75kvs6xl8j3my-source", {
  narHash: "1bzg89hgcr2gvza35vqi4n1jbb2gz1yg4b8p7gry4ihsj2mnnbap",
  narSize: 2440,
  references: [],
});
const LIVE_SIGNATURES = [
  [
    SOURCE,
    "/GKLWnyFDvwFkyP7CSCNwhaJoqaCVtuzyhc3PhXuKP3jg5ySAny1Jjon2ajdjYAQKwqhvWkn26Gzws7zL0Q4BQ==",
  ],
  [
    SCRIPT,
    "RcmngYq9PZMjZVwQdZK8mUmOjmj964GqM18zWkj/Qpw17ns1CmGnYGCrvbj/Q/+K1jU3HbFH9ABtft+3TUgHAA==",
  ],
  [
    OTHER_SOURCE,
    "wKpIFGNnM2hyGkGUaX+qhMhYzEwMio7o4RayDDD/BUF0eOOzp2aRzFWFSgRoqyJf7DygEIGFHPuk1gFDbhyJBQ==",
  ],
] as const;
/** The key whose seed is the bytes 0 to 31. */
const COUNTING_KEY = parseSecretKey(
  "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8DoQe/884Qvh1w3RjnS8CZZ+TWMJulDV8d3IZkElUxuA==",
  "mine-1",
);

function signed(
  baseName: string,
  fields: { narHash: string; narSize: number; references: readonly string[] },
): Signed {
  return {
    storePath: fromBaseName(baseName),
    narHash: parseSha256(fields.narHash),
    narSize: fields.narSize,
    references: fields.references.map((name) => fromBaseName(name)),
  };
}

describe("fingerprint()", () => {
  it("ends in the references, or in a semicolon", () => {
    assert.equal(Buffer.byteLength(fingerprint(SCRIPT)), 256);
    assert.equal(
      fingerprint(SOURCE),
      "1;/nix/store/rcxcrs4d7rnlzj2kv3yafcrbn9bjwhxy-source;sha256:0l2bwq4b7fycfmzpnaldyqnmk7s809wqwnqshsnl91swzx46kkv2;752968;",
    );
  });

  it("does not depend on the order of the references", () => {
    const shuffled = {
      ...SCRIPT,
      references: [...SCRIPT.references, ...SCRIPT.references].toReversed(),
    };
    assert.equal(fingerprint(shuffled), fingerprint(SCRIPT));
  });
});

describe("verifyFingerprint()", () => {
  for (const [path, base64] of LIVE_SIGNATURES) {
    it(`believes a live cache about ${path.storePath.slice(11, 20)}`, () => {
      assert.ok(verifyFingerprint(fingerprint(path), `any-1:${base64}`, [LIVE_KEY]));
      const larger = { ...path, narSize: path.narSize + 1 };
      assert.ok(!verifyFingerprint(fingerprint(larger), `any-1:${base64}`, [LIVE_KEY]));
    });
  }

  it("goes by the key's name if it has one, and tries all of that name", () => {
    const line = fingerprint(SOURCE);
    const signature = signFingerprint(line, COUNTING_KEY);
    const key = publicKeyOf(COUNTING_KEY);
    const namesake = publicKeyOf(generateSecretKey("mine-1"));
    assert.ok(verifyFingerprint(line, signature, [namesake, key]));
    assert.ok(!verifyFingerprint(line, signature, [namesake]));
    assert.ok(!verifyFingerprint(line, signature, [{ ...key, name: "mine-2" }]));
    assert.ok(!verifyFingerprint(line, signature, []));
  });

  it("believes no malformed signature", () => {
    assert.equal(verifyFingerprint("1;", "nonsense", [LIVE_KEY]), false);
    assert.equal(verifyFingerprint("1;", "", [LIVE_KEY]), false);
  });
});

describe("signFingerprint()", () => {
  it("gives the signatures that Cachix's client gives", () => {
    assert.equal(
      signFingerprint(fingerprint(SCRIPT), COUNTING_KEY),
      "mine-1:4FyLF1RNb/bpW7XpvOy378nn446F5qjiwBtR2STsbyFkL23edzbEL2n0uaKkccBedYqWRzSxLDGYVaDheEUOCQ==",
    );
    assert.equal(
      signFingerprint(fingerprint(SOURCE), COUNTING_KEY),
      "mine-1:Esacic0qL+Bh0svkc4HtocO0hpyxLo2QpYpRa+Uj3TGugFLm1Ax9ysz4B2DolLNV9latIgrWRPjpSAFpJWN5BA==",
    );
  });

  it("refuses a key without name", () => {
    const nameless = parseSecretKey(Buffer.from(COUNTING_KEY.reveal()).toString("base64"));
    assert.throws(() => signFingerprint("1;", nameless), { name: "FormatError", format: "key" });
  });
});

describe("parseSignature()", () => {
  const valid = signFingerprint("1;", COUNTING_KEY);

  it("gives name and bytes", () => {
    const { name, bytes } = parseSignature(valid);
    assert.equal(name, "mine-1");
    assert.equal(`${name}:${Buffer.from(bytes).toString("base64")}`, valid);
  });

  for (const [what, text] of [
    ["no name", valid.slice("mine-1:".length)],
    ["an empty name", valid.slice("mine-1".length)],
    ["a short signature", `a:${Buffer.alloc(63).toString("base64")}`],
    ["a long signature", `a:${Buffer.alloc(65).toString("base64")}`],
    ["surplus bits in the base64", valid.replace(/.==$/, "B==")],
    ["a line feed", `${valid}\n`],
    ["two names", `a:${valid}`],
  ] as const) {
    it(`refuses ${what}`, () => {
      assert.throws(() => parseSignature(text), { name: "FormatError", format: "signature" });
    });
  }

  it("gives a signature or a FormatError for any text", () => {
    fc.assert(
      fc.property(hostileText([valid]), (text) => {
        const read = valueOrRefusal("FormatError", () => parseSignature(text));
        if (read === undefined) return;
        assert.equal(`${read.name}:${Buffer.from(read.bytes).toString("base64")}`, text);
      }),
      { numRuns: FUZZ_RUNS },
    );
  });
});
