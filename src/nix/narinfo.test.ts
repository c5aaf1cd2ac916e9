import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { FUZZ_RUNS, hostileText, valueOrRefusal } from "../../test/fuzz.ts";
import { sha256ToHex } from "./hash.ts";
import { parsePublicKey, parseSecretKey } from "./key.ts";
import { type NarInfo, parseNarInfo, printNarInfo } from "./narinfo.ts";
import { fingerprint, signFingerprint, verifyFingerprint } from "./signature.ts";
import { fromBaseName, parseStorePath } from "./store-path.ts";

const VECTORS = new URL("../../test/vectors/narinfo/", import.meta.url);
const read = (name: string): string => readFileSync(new URL(name, VECTORS), "utf8");
const TEXTS = readdirSync(VECTORS)
  .filter((name) => name.endsWith(".narinfo"))
  .map(read);
const DEP = read("y9v4w1kf41c10q7fdxlbz10s0adiximd.narinfo");
const SHA256 = "sha256:00kjynz8n03652qccs76ivsvark3pr3dfr6w1ba3x7bx83kcknvv";
const MINIMAL = `StorePath: /nix/store/y9v4w1kf41c10q7fdxlbz10s0adiximd-dep-1.0
URL: nar/x.nar
NarHash: ${SHA256}
NarSize: 120
`;
const refused = { name: "FormatError", format: "narinfo" };

describe("parseNarInfo() and printNarInfo()", () => {
  it("give real Nix's narinfos back byte for byte", () => {
    for (const text of TEXTS) assert.equal(printNarInfo(parseNarInfo(text)), text);
  });

  it("keep everything that a narinfo can hold", () => {
    const path = fromBaseName("y9v4w1kf41c10q7fdxlbz10s0adiximd-dep-1.0");
    const info: NarInfo = {
      ...parseNarInfo(DEP),
      url: "https://elsewhere.example/nar/x.nar?hash=1",
      references: [path],
      deriver: undefined,
      system: "x86_64-linux",
      ca: `fixed:r:${SHA256}`,
    };
    assert.deepEqual(parseNarInfo(printNarInfo(info)), info);
  });

  it("give a narinfo that comes out the same, or a FormatError, for any text", () => {
    fc.assert(
      fc.property(hostileText([...TEXTS, MINIMAL, `${MINIMAL}CA: text:${SHA256}\n`]), (text) => {
        const info = valueOrRefusal("FormatError", () => parseNarInfo(text));
        if (info !== undefined) assert.deepEqual(parseNarInfo(printNarInfo(info)), info);
      }),
      { numRuns: FUZZ_RUNS },
    );
  });
});

describe("parseNarInfo()", () => {
  it("reads every field", () => {
    const info = parseNarInfo(DEP);
    assert.equal(info.storePath, "/nix/store/y9v4w1kf41c10q7fdxlbz10s0adiximd-dep-1.0");
    assert.equal(info.url, "nar/1xsjkazpfgyyy38br89kz2plvdb4dkqcjl5mh0n2py3ndf0sc48j.nar.xz");
    assert.equal(info.compression, "xz");
    assert.equal(info.fileHash, "sha256:1xsjkazpfgyyy38br89kz2plvdb4dkqcjl5mh0n2py3ndf0sc48j");
    assert.deepEqual([info.fileSize, info.narHash, info.narSize], [128, SHA256, 120]);
    assert.deepEqual([info.references, info.signatures.length], [[], 2]);
    assert.equal(info.deriver, "/nix/store/sinxa9h1zjjj6c3fvnqzwjr2mvnv97ig-dep-1.0.drv");
  });

  it("needs no more than path, URL, hash and size, and takes absent compression for bzip2", () => {
    assert.deepEqual(parseNarInfo(MINIMAL), {
      storePath: "/nix/store/y9v4w1kf41c10q7fdxlbz10s0adiximd-dep-1.0",
      url: "nar/x.nar",
      compression: "bzip2",
      fileHash: undefined,
      fileSize: undefined,
      narHash: SHA256,
      narSize: 120,
      references: [],
      deriver: undefined,
      system: undefined,
      signatures: [],
      ca: undefined,
    });
  });

  it("skips keys that it does not know, also twice", () => {
    const more = `${MINIMAL}Note: a\nNote: b\n__proto__: c\n`;
    assert.deepEqual(parseNarInfo(more), parseNarInfo(MINIMAL));
  });

  it("takes unknown-deriver for none", () => {
    assert.equal(parseNarInfo(`${MINIMAL}Deriver: unknown-deriver\n`).deriver, undefined);
  });

  it("puts references in order, each once", () => {
    const [a, b] = [`${"a".repeat(32)}-a`, `${"b".repeat(32)}-b`];
    const info = parseNarInfo(`${MINIMAL}References: ${b} ${a}  ${b}\n`);
    assert.deepEqual(info.references, [fromBaseName(a), fromBaseName(b)]);
  });

  it("takes hashes in every spelling", () => {
    const { narHash } = parseNarInfo(MINIMAL);
    const hex = MINIMAL.replace(SHA256, `sha256:${sha256ToHex(narHash)}`);
    assert.equal(parseNarInfo(hex).narHash, narHash);
  });

  it("reads paths of the store that it is told of", () => {
    const text = MINIMAL.replace("/nix/store", "/s");
    assert.equal(parseNarInfo(text, { storeDir: "/s" }).storePath.slice(0, 4), "/s/y");
    assert.throws(() => parseNarInfo(text), refused);
  });

  it("keeps what the signatures were made over", () => {
    const secret = parseSecretKey(read("test-cache-1.sec"));
    const other = parsePublicKey(read("other-key-2.pub"));
    for (const text of TEXTS) {
      const info = parseNarInfo(text);
      const line = fingerprint(info);
      assert.ok(info.signatures.includes(signFingerprint(line, secret)));
      assert.ok(info.signatures.some((signature) => verifyFingerprint(line, signature, [other])));
    }
  });

  const without = (key: string): string => MINIMAL.replace(new RegExp(`^${key}: .*\n`, "m"), "");
  for (const [what, text] of [
    ["an empty text", ""],
    ["a last line without line feed", MINIMAL.slice(0, -1)],
    ["an empty line", `${MINIMAL}\n`],
    ["a key without space behind its colon", `${MINIMAL}Note:a\n`],
    ["a line without key", `${MINIMAL}: a\n`],
    ["carriage returns", MINIMAL.replaceAll("\n", "\r\n")],
    ["more than 1 MiB", `${MINIMAL}Note: ${"a".repeat(2 ** 20)}\n`],
    ...["StorePath", "URL", "NarHash", "NarSize"].map(
      (key) => [`no ${key}`, without(key)] as const,
    ),
    ...["StorePath", "URL", "NarHash", "NarSize"].map(
      (key) =>
        [
          `${key} twice`,
          `${MINIMAL}${MINIMAL.split("\n").find((line) => line.startsWith(key))}\n`,
        ] as const,
    ),
    ["CA twice", `${MINIMAL}CA: text:${SHA256}\nCA: text:${SHA256}\n`],
    ["References twice", `${MINIMAL}References: \nReferences: \n`],
    ["NarSize 0", MINIMAL.replace("120", "0")],
    ["a negative size", MINIMAL.replace("120", "-120")],
    ["a size beyond 2^53", MINIMAL.replace("120", "9007199254740992")],
    ["a size in hexadecimal", MINIMAL.replace("120", "0x78")],
    ["a size with a space", MINIMAL.replace("120", "120 ")],
    ["an empty URL", MINIMAL.replace("nar/x.nar", "")],
    ["a URL with a space", MINIMAL.replace("nar/x", "nar/ x")],
    ["a URL with a control character", MINIMAL.replace("nar/x", "nar/\u001b[2Jx")],
    ["an unknown compression", `${MINIMAL}Compression: zst\n`],
    ["another algorithm", MINIMAL.replace(SHA256, "sha1:143xibwh31h9bvxzalr0sjvbbvpa6ffs")],
    ["a full path as reference", `${MINIMAL}References: /nix/store/${"a".repeat(32)}-a\n`],
    ["a full path as deriver", `${MINIMAL}Deriver: /nix/store/${"a".repeat(32)}-a.drv\n`],
    ["an empty deriver", `${MINIMAL}Deriver: \n`],
    ["a malformed signature", `${MINIMAL}Sig: key:AAAA\n`],
    ["a malformed content address", `${MINIMAL}CA: ${SHA256}\n`],
    ["a content address with a malformed hash", `${MINIMAL}CA: text:sha256:00\n`],
    ["a system with a space", `${MINIMAL}System: a b\n`],
  ] as const) {
    it(`refuses ${what}`, () => {
      assert.throws(() => parseNarInfo(text), refused);
    });
  }

  it("says which value is wrong, quoted and bounded", () => {
    assert.throws(() => parseNarInfo(MINIMAL.replace("120", "9".repeat(5000))), {
      message: `Cannot read narinfo: NarSize: "${"9".repeat(80)}…" is not a size in bytes`,
    });
  });
});

describe("printNarInfo()", () => {
  it("spells the file's hash as Cachix serves it if asked to", () => {
    const info = parseNarInfo(DEP);
    const text = printNarInfo(info, { fileHashSpelling: "base16" });
    assert.match(text, /^FileHash: sha256:[0-9a-f]{64}$/m);
    assert.deepEqual(parseNarInfo(text), info);
  });

  it("refuses a value that would add a line", () => {
    const info = parseNarInfo(DEP);
    const line = "x\nStorePath: /nix/store/forged";
    for (const forged of [{ url: line }, { signatures: [line] }, { ca: line }, { system: line }]) {
      assert.throws(() => printNarInfo({ ...info, ...forged }), { name: "FormatError" });
    }
  });

  it("writes a path of another store", () => {
    const storePath = parseStorePath(`/s/${"a".repeat(32)}-a`, "/s");
    const text = printNarInfo({ ...parseNarInfo(MINIMAL), storePath, references: [storePath] });
    assert.deepEqual(parseNarInfo(text, { storeDir: "/s" }).references, [storePath]);
  });
});
