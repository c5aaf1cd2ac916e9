import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { before, describe, it } from "node:test";

import { encodeBase32 } from "./base32.ts";
import { type Derivation, parseDerivation } from "./derivation.ts";
import { type OutputHashes, outputHashes } from "./output-hashes.ts";
import { nameOf, parseStorePath, type StorePath } from "./store-path.ts";

const FOLDER = new URL("../../test/vectors/drv/", import.meta.url);

/** The path that Nix makes of the hash of a derivation whose outputs are addressed by inputs. */
function outputPath(output: string, hash: string, name: string): string {
  const inner = `output:${output}:sha256:${hash}:/nix/store:${name}`;
  const digest = createHash("sha256").update(inner).digest();
  const folded = Buffer.alloc(20);
  for (const [index, byte] of digest.entries()) {
    folded[index % 20] = (folded[index % 20] ?? 0) ^ byte;
  }
  return `/nix/store/${encodeBase32(folded)}-${name}`;
}

describe("outputHashes()", () => {
  const read = new Map<StorePath, Derivation>();
  before(async () => {
    for (const name of await readdir(FOLDER)) {
      const text = await readFile(new URL(name, FOLDER), "latin1");
      read.set(parseStorePath(`/nix/store/${name}`), parseDerivation(text));
    }
  });

  function hashesOf(path: StorePath, isMasked: boolean): OutputHashes {
    const derivation = read.get(path);
    assert.ok(derivation !== undefined, path);
    const names = [...derivation.inputDrvs.keys()];
    const inputs = new Map(names.map((input) => [input, hashesOf(input, false)]));
    return outputHashes({ derivation, inputs, isMasked });
  }

  it("gives the hashes that Nix makes the paths of outputs from", () => {
    const paths: string[] = [];
    for (const [path, { outputs }] of read) {
      for (const [name, { path: expected, hash }] of outputs) {
        if (expected === undefined || hash !== "") continue;
        const found = hashesOf(path, true).get(name) ?? "";
        paths.push(outputPath(name, found, nameOf(expected)));
        assert.equal(paths.at(-1), expected);
      }
    }
    assert.equal(new Set(paths).size, 7);
  });

  it("knows a fixed output by its content, whatever makes it", () => {
    const [path] = [...read.keys()].filter((path) => path.endsWith("-plain-2.0.drv"));
    assert.ok(path !== undefined);
    const derivation = read.get(path);
    assert.ok(derivation !== undefined);
    const { path: output, hash } = derivation.outputs.get("out") ?? {};
    const text = `fixed:out:sha256:${hash}:${output}`;
    const expected = createHash("sha256").update(text).digest("hex");
    const other = { ...derivation, builder: "/other", env: new Map() };
    for (const isMasked of [true, false]) {
      const found = outputHashes({ derivation: other, inputs: new Map(), isMasked });
      assert.deepEqual([...found], [["out", expected]]);
    }
  });

  it("refuses a derivation whose inputs lack an output that it takes", () => {
    const [path, derivation] = [...read].find(([, { inputDrvs }]) => inputDrvs.size > 0) ?? [];
    assert.ok(path !== undefined && derivation !== undefined);
    const refused = { name: "FormatError", message: /takes output "out" of .*, which has none$/ };
    for (const inputs of [new Map(), new Map([[path, new Map([["out", "0"]])]])]) {
      assert.throws(() => outputHashes({ derivation, inputs, isMasked: true }), refused);
    }
  });
});
