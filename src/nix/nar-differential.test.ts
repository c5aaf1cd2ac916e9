import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { edited, SLOW_FUZZ_RUNS } from "../../test/fuzz.ts";
import { tempDir } from "../../test/temp.ts";
import { narString } from "./nar-encode.ts";
import { NarReader } from "./nar-reader.ts";

const VECTORS = new URL("../../test/vectors/nar/", import.meta.url);

/** The strings that a NAR consists of. */
function tokensOf(nar: Buffer): Buffer[] {
  const tokens: Buffer[] = [];
  for (let at = 0; at < nar.length;) {
    const size = Number(nar.readBigUInt64LE(at));
    tokens.push(nar.subarray(at + 8, at + 8 + size));
    at += 8 + Math.ceil(size / 8) * 8;
  }
  return tokens;
}

function isAccepted(nar: Buffer): boolean {
  const reader = new NarReader();
  try {
    reader.write(nar);
    reader.end();
    return true;
  } catch (error) {
    assert.ok(error instanceof Error && error.name === "FormatError", String(error));
    return false;
  }
}

const samples = readdirSync(VECTORS).map((name) => tokensOf(readFileSync(new URL(name, VECTORS))));
const anyName = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom("a", "b", "B", "a.b", "\u00e9", "\uff5e", "\u{1f4a9}") },
  { weight: 1, arbitrary: fc.constantFrom("", ".", "..", "a/b", "a\0b", "n".repeat(255)) },
);
const { node: anyNode } = fc.letrec<{ node: readonly string[] }>((tie) => ({
  node: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.tuple(fc.boolean(), anyName).map(([executable, contents]) => {
      const flag = executable ? ["executable", ""] : [];
      return ["(", "type", "regular", ...flag, "contents", contents, ")"];
    }),
    anyName.map((target) => ["(", "type", "symlink", "target", target, ")"]),
    fc.array(fc.tuple(anyName, tie("node")), { maxLength: 3 }).map((entries) => {
      const words = entries.flatMap(([name, node]) => {
        return ["entry", "(", "name", name, "node", ...node, ")"];
      });
      return ["(", "type", "directory", ...words, ")"];
    }),
  ),
}));
const tree = anyNode.map((words) => ["nix-archive-1", ...words].map((text) => Buffer.from(text)));
const word = fc.oneof(
  anyName,
  fc.constantFrom("(", ")", "type", "entry", "executable", "contents"),
);
const damaged = edited(
  samples,
  word.map((text) => Buffer.from(text)),
);
/** Trees with wrong names, order or repetitions, and much that is not a NAR any more. */
const hostileNar = fc
  .oneof({ weight: 4, arbitrary: tree }, { weight: 1, arbitrary: damaged })
  .map((tokens) => Buffer.concat(tokens.map(narString)));

/** One archive of a folder that has the others as entries: Nix takes one as fast as many. */
function folderOf(nars: readonly Buffer[]): Buffer {
  const entries = nars.flatMap((nar, index) => {
    const [, ...node] = tokensOf(nar);
    return ["entry", "(", "name", String(index).padStart(3, "0"), "node", ...node, ")"];
  });
  const tokens = ["nix-archive-1", "(", "type", "directory", ...entries, ")"];
  return Buffer.concat(tokens.map((token) => narString(token)));
}

describe("NarReader beside Nix", () => {
  it("takes no archive that nix-store --restore refuses, and Nix dumps what it took", async () => {
    await using temp = await tempDir();
    const target = join(temp.dir, "restored");
    let taken = 0;
    fc.assert(
      fc.property(fc.array(hostileNar, { minLength: 50, maxLength: 200 }), (nars) => {
        rmSync(target, { recursive: true, force: true });
        const accepted = nars.filter(isAccepted);
        taken += accepted.length;
        const folder = folderOf(accepted);
        const { status, stderr } = spawnSync("nix-store", ["--restore", target], { input: folder });
        assert.equal(status, 0, stderr.toString());
        const maxBuffer = folder.length + 1024;
        const dumped = execFileSync("nix-store", ["--dump", target], { maxBuffer });
        assert.ok(dumped.equals(folder), "the dump differs");
      }),
      { numRuns: Math.ceil(SLOW_FUZZ_RUNS / 10) },
    );
    assert.ok(taken > SLOW_FUZZ_RUNS, `${taken} archives were taken`);
  });
});
