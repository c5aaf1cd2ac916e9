import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";

import { BUNDLE } from "./handpick.ts";

const STATIC = /(?:^|[;}\n])(?:import|export)\s*(?:[^;"'()]*?from)?"\.\/(chunk-[A-Z0-9]+\.js)"/g;
const DYNAMIC = /\bimport\("\.\/(chunk-[A-Z0-9]+\.js)"\)/g;
/** The name in the table of a command. */
const COMMAND = /\busage:"([a-z]+)/g;
/** Marks that stand in the code of the AWS SDK and nowhere in ours. */
const SDK = /x-amz-request-route|PutBucketAcl|amz-sdk-invocation-id/;

const read = (name: string): Promise<string> => readFile(join(dirname(BUNDLE), name), "utf8");

const loadedLater = (texts: Iterable<string>): string[] =>
  [...texts].flatMap((text) => Array.from(text.matchAll(DYNAMIC), ([, name = ""]) => name));
const commandsIn = (texts: Iterable<string>): string[] =>
  [...texts].flatMap((text) => Array.from(text.matchAll(COMMAND), ([, name = ""]) => name));

/** The files that load with one of these. */
async function loadedWith(names: readonly string[]): Promise<Map<string, string>> {
  const loaded = new Map<string, string>();
  const open = [...names];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (loaded.has(name)) continue;
    const text = await read(name);
    loaded.set(name, text);
    open.push(...Array.from(text.matchAll(STATIC), ([, found = ""]) => found));
  }
  return loaded;
}

describe("the bundle", () => {
  it("loads no other command to push, and only push beside it to sync", async () => {
    const start = await loadedWith(["handpick.js"]);
    const main = await loadedWith(loadedLater(start.values()));
    assert.deepEqual(commandsIn(main.values()), ["push"]);
    const groups: string[][] = [];
    for (const name of loadedLater(main.values())) {
      groups.push(commandsIn((await loadedWith([name])).values()).filter((one) => one !== "push"));
    }
    assert.ok(groups.some((names) => names.join() === "sync"));
    assert.ok(groups.some((names) => names.includes("sync") && names.includes("serve")));
  });

  it("has Node read nothing of its own modules but what is used", async () => {
    const names = (await readdir(dirname(BUNDLE))).filter((name) => name.endsWith(".js"));
    for (const name of names) assert.doesNotMatch(await read(name), /\bfrom ?"node:/, name);
  });

  it("has the packing thread in one file", async () => {
    const thread = await loadedWith(["pack-worker.js"]);
    assert.deepEqual([...thread.keys()], ["pack-worker.js"]);
    assert.deepEqual(loadedLater(thread.values()), []);
  });

  it("loads the AWS SDK for caches of s3:// only, and not for its start or others", async () => {
    const start = await loadedWith(["handpick.js"]);
    const others = await loadedWith(loadedLater(start.values()));
    for (const [name, text] of [...start, ...others]) assert.doesNotMatch(text, SDK, name);
    const rest = await loadedWith(loadedLater(others.values()));
    assert.ok([...rest.values()].some((text) => SDK.test(text)));
  });
});
