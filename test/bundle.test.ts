import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";

import { BUNDLE } from "./handpick.ts";

/** Returns the text of a file of the bundle and of all that it imports before it runs. */
async function loadedWith(file: string, texts = new Map<string, string>()): Promise<string> {
  if (!texts.has(file)) {
    const text = await readFile(join(dirname(BUNDLE), file), "utf8");
    texts.set(file, text);
    const imports = text.matchAll(/(?:from|import)"\.\/([^"]+)"/g);
    for (const [, imported = ""] of imports) await loadedWith(imported, texts);
  }
  return [...texts.values()].join("\n");
}

function loadedLater(text: string): string[] {
  return Array.from(text.matchAll(/import\("\.\/([^"]+)"\)/g), ([, file = ""]) => file);
}

function commandsIn(text: string): string[] {
  return Array.from(text.matchAll(/usage:"([a-z]+)/g), ([, name = ""]) => name).toSorted();
}

describe("the bundle", () => {
  it("loads nothing of other commands to push, and only sync beside it to sync", async () => {
    const [main = "", ...others] = loadedLater(await readFile(BUNDLE, "utf8"));
    assert.deepEqual(others, []);
    const atStart = await loadedWith(main);
    assert.deepEqual(commandsIn(atStart), ["push"]);
    const later = await Promise.all(loadedLater(atStart).map((file) => loadedWith(file)));
    const groups = later.map((text) => commandsIn(text).filter((name) => name !== "push"));
    assert.ok(groups.some((names) => names.join() === "sync"));
    assert.equal(groups.filter((names) => names.includes("sync")).length, 2);
  });

  it("has the packing thread in one file", async () => {
    const worker = await readFile(join(dirname(BUNDLE), "pack-worker.js"), "utf8");
    assert.doesNotMatch(worker, /(?:from|import\(?)"\.\//);
  });
});
