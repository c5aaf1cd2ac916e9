import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { createTestNix, type TestNix, TOY_PACKAGES } from "../../test/nix.ts";
import type { ClosureKind, Pick } from "../nix/manifest.ts";
import { parseStorePath, type StorePath } from "../nix/store-path.ts";
import { openStore } from "../store/open-store.ts";
import type { Store } from "../store/store.ts";
import { closePicks } from "./closure.ts";

describe("closePicks()", () => {
  let nix: TestNix;
  let store: Store;
  let tool: StorePath;
  let lib: StorePath;

  const build = async (attr: string): Promise<StorePath> => {
    const [path = ""] = await nix.build(TOY_PACKAGES, { attr });
    return parseStorePath(path, nix.storeDir);
  };
  before(async () => {
    nix = await createTestNix();
    tool = await build("tool");
    lib = await build("lib");
    store = await openStore({ env: nix.env });
  });
  after(async () => {
    await store?.close();
    await nix?.[Symbol.asyncDispose]();
  });

  const pick = (closure: ClosureKind, ...paths: StorePath[]): Pick => {
    return { name: closure, paths, closure, caches: undefined, exclude: [], pin: undefined };
  };
  /** The sorted answer of Nix itself. */
  const query = async (...args: string[]): Promise<string[]> => {
    const { stdout } = await nix.run("nix-store", ["--query", ...args]);
    return stdout.trim().split("\n").toSorted();
  };

  it("takes all references for runtime and none for self", async () => {
    const { picks, infos } = await closePicks([pick("runtime", tool), pick("self", lib)], store);
    const expected = await query("--requisites", tool);
    assert.ok(expected.length >= 3);
    assert.deepEqual([...(picks[0]?.members ?? [])].toSorted(), expected);
    assert.deepEqual([...(picks[1]?.members ?? [])], [lib]);
    assert.deepEqual([...infos.keys()].toSorted(), expected);
  });

  it("keeps the closures of picks apart", async () => {
    const { picks } = await closePicks([pick("runtime", lib), pick("runtime", tool)], store);
    assert.deepEqual([...(picks[0]?.members ?? [])], [lib]);
  });

  it("adds derivations and outputs of their inputs for build", async () => {
    const [deriver = ""] = await query("--deriver", tool);
    const expected = await query("--requisites", "--include-outputs", deriver);
    for (const root of [tool, parseStorePath(deriver, nix.storeDir)]) {
      const { picks, infos } = await closePicks([pick("build", root)], store);
      const members = [...(picks[0]?.members ?? [])].toSorted();
      // A derivation as root asks for what builds it, not for what it builds.
      assert.deepEqual(
        members,
        expected.filter((path) => root === tool || path !== tool),
      );
      assert.ok(members.every((path) => infos.has(path)));
    }
  });

  it("takes a path without deriver for its own build closure", async () => {
    const source = parseStorePath(await nix.add("source", "text"), nix.storeDir);
    const { picks } = await closePicks([pick("build", source)], store);
    assert.deepEqual([...(picks[0]?.members ?? [])], [source]);
  });

  it("refuses a pick whose path is not valid, whatever its closure", async () => {
    const absent = parseStorePath(`${nix.storeDir}/${"0".repeat(32)}-absent`, nix.storeDir);
    for (const closure of ["runtime", "self", "build"] as const) {
      await assert.rejects(closePicks([pick("runtime", tool), pick(closure, lib, absent)], store), {
        code: "PATH_NOT_VALID",
        message: `Cannot select pick "${closure}": ${absent} is not valid in the Nix store`,
      });
    }
  });

  it("refuses a build closure whose derivation is gone", async () => {
    const data = await build("data");
    const [deriver = ""] = await query("--deriver", data);
    await nix.run("nix-store", ["--delete", "--option", "keep-derivations", "false", deriver]);
    await assert.rejects(closePicks([pick("build", data)], store), {
      code: "PATH_NOT_VALID",
      message: `Cannot select pick "build": ${deriver} is not valid in the Nix store`,
    });
    assert.equal((await closePicks([pick("runtime", data)], store)).picks.length, 1);
  });

  it("closes nothing over nothing", async () => {
    const { picks, infos } = await closePicks([], store);
    assert.deepEqual([picks.length, infos.size], [0, 0]);
  });
});
