import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { inspect } from "node:util";
import * as fc from "fast-check";
import { FUZZ_RUNS, hostileText, valueOrRefusal } from "../../test/fuzz.ts";
import { createTestNix } from "../../test/nix.ts";
import {
  generateSecretKey,
  parsePublicKey,
  parseSecretKey,
  printPublicKey,
  printSecretKey,
  publicKeyOf,
} from "./key.ts";

const VECTORS = new URL("../../test/vectors/narinfo/", import.meta.url);
const read = (name: string): Promise<string> => readFile(new URL(name, VECTORS), "utf8");
/** The key whose seed is the bytes 0 to 31. */
const CACHIX_SECRET =
  "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8DoQe/884Qvh1w3RjnS8CZZ+TWMJulDV8d3IZkElUxuA==";
const CACHIX_PUBLIC = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=";
const refused = { name: "FormatError", format: "key" };

describe("parseSecretKey()", () => {
  it("reads Nix's spelling and gives it back", async () => {
    const text = await read("test-cache-1.sec");
    const key = parseSecretKey(`\n ${text}\n`);
    assert.equal(key.name, "test-cache-1");
    assert.equal(printSecretKey(key, "nix"), text.trim());
    assert.equal(printPublicKey(publicKeyOf(key)), (await read("test-cache-1.pub")).trim());
  });

  it("reads Cachix's spelling, which has no name", () => {
    const key = parseSecretKey(` ${CACHIX_SECRET}\n`);
    assert.equal(key.name, undefined);
    assert.equal(printSecretKey(key, "cachix"), CACHIX_SECRET);
    assert.equal(printPublicKey(publicKeyOf(key)), CACHIX_PUBLIC);
    assert.throws(() => printSecretKey(key, "nix"), refused);
  });

  it("gives the default name to a key without one only", () => {
    assert.equal(parseSecretKey(CACHIX_SECRET, "mine-1").name, "mine-1");
    assert.equal(parseSecretKey(`a:${CACHIX_SECRET}`, "mine-1").name, "a");
  });

  const bytes = Buffer.from(CACHIX_SECRET, "base64");
  const foreign = Buffer.from(bytes).fill(7, 32);
  for (const [what, text] of [
    ["nothing", ""],
    ["a name alone", "name:"],
    ["a seed alone", bytes.subarray(0, 32).toString("base64")],
    ["65 bytes", Buffer.concat([bytes, Buffer.of(0)]).toString("base64")],
    ["a public half that is another's", `name:${foreign.toString("base64")}`],
    ["base64 without padding", CACHIX_SECRET.slice(0, -2)],
    [
      "base64 with a line break inside",
      `${CACHIX_SECRET.slice(0, 40)}\n${CACHIX_SECRET.slice(40)}`,
    ],
    ["an empty name", `:${CACHIX_SECRET}`],
    ["two names", `a:b:${CACHIX_SECRET}`],
    ["a name with a space", `a b:${CACHIX_SECRET}`],
    ["more text than any key has", `${CACHIX_SECRET}${" ".repeat(1024)}`],
  ] as const) {
    it(`refuses ${what} without quoting it`, () => {
      assert.throws(
        () => parseSecretKey(text),
        (error: Error) => {
          assert.equal(error.name, "FormatError");
          const said = inspect(error).replaceAll(/\s/g, "");
          for (let at = 0; at + 8 <= CACHIX_SECRET.length; at++) {
            assert.ok(!said.includes(CACHIX_SECRET.slice(at, at + 8)));
          }
          return true;
        },
      );
    });
  }

  it("gives a key or a FormatError for any text", () => {
    fc.assert(
      fc.property(hostileText([CACHIX_SECRET, `name:${CACHIX_SECRET}`]), (text) => {
        const key = valueOrRefusal("FormatError", () => parseSecretKey(text, "default"));
        if (key !== undefined)
          assert.equal(parseSecretKey(printSecretKey(key, "nix")).name, key.name);
      }),
      { numRuns: FUZZ_RUNS },
    );
  });
});

describe("SecretKey", () => {
  it("shows its name only, however it is shown", () => {
    const key = parseSecretKey(CACHIX_SECRET, "mine-1");
    assert.equal(JSON.stringify({ key }), '{"key":{"name":"mine-1"}}');
    assert.equal(inspect(key), "SecretKey { name: 'mine-1' }");
    assert.doesNotMatch(inspect(key, { showHidden: true, depth: null }), /seed|Uint8Array|00/);
    assert.deepEqual(Object.keys(key), ["name"]);
  });
});

describe("generateSecretKey()", () => {
  it("makes a new key that is read again", () => {
    const key = generateSecretKey("mine-1");
    const again = parseSecretKey(printSecretKey(key, "nix"));
    assert.deepEqual(publicKeyOf(again), publicKeyOf(key));
    assert.notDeepEqual(publicKeyOf(generateSecretKey("mine-1")), publicKeyOf(key));
  });

  it("refuses a name that Nix would cut or misread", () => {
    for (const name of ["", "a:b", "a b", "a\n", "a\0", "a".repeat(256)]) {
      assert.throws(() => generateSecretKey(name), refused);
    }
  });

  it("does what nix-store --generate-binary-cache-key does", async () => {
    await using nix = await createTestNix();
    const [secret, open] = [join(nix.dir, "key.sec"), join(nix.dir, "key.pub")];
    await nix.run("nix-store", ["--generate-binary-cache-key", "real-1", secret, open]);
    const key = parseSecretKey(await readFile(secret, "utf8"));
    assert.equal(printSecretKey(key, "nix"), (await readFile(secret, "utf8")).trim());
    assert.equal(printPublicKey(publicKeyOf(key)), (await readFile(open, "utf8")).trim());
  });
});

describe("parsePublicKey()", () => {
  it("is inverted by printPublicKey(), with and without name", async () => {
    for (const text of [(await read("other-key-2.pub")).trim(), CACHIX_PUBLIC]) {
      assert.equal(printPublicKey(parsePublicKey(text)), text);
    }
  });

  it("refuses a secret key and other lengths", () => {
    for (const text of [CACHIX_SECRET, `a:${CACHIX_SECRET}`, "a:AAAA", "", "a:"]) {
      assert.throws(() => parsePublicKey(text), refused);
    }
  });

  it("gives a key or a FormatError for any text", () => {
    fc.assert(
      fc.property(hostileText([CACHIX_PUBLIC, `name:${CACHIX_PUBLIC}`]), (text) => {
        const key = valueOrRefusal("FormatError", () => parsePublicKey(text));
        if (key !== undefined) assert.deepEqual(parsePublicKey(printPublicKey(key)), key);
      }),
      { numRuns: FUZZ_RUNS },
    );
  });
});
