import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";

import { BUNDLE } from "./handpick.ts";

const STATIC = /(?:^|[;}\n])(?:import|export)\s*(?:[^;"'()]*?from)?"\.\/(chunk-[A-Z0-9]+\.js)"/g;
const DYNAMIC = /\bimport\("\.\/(chunk-[A-Z0-9]+\.js)"\)/g;
/** Marks that stand in the code of the AWS SDK and nowhere in ours. */
const SDK = /x-amz-request-route|PutBucketAcl|amz-sdk-invocation-id/;

const read = (name: string): Promise<string> => readFile(join(dirname(BUNDLE), name), "utf8");

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
  it("loads the AWS SDK for caches of s3:// only, and not for its start or others", async () => {
    const start = await loadedWith(["handpick.js"]);
    const commands = [...start.values()].flatMap((text) =>
      Array.from(text.matchAll(DYNAMIC), ([, name = ""]) => name),
    );
    const others = await loadedWith(commands);
    for (const [name, text] of [...start, ...others]) assert.doesNotMatch(text, SDK, name);
    const onDemand = [...others.values()].flatMap((text) =>
      Array.from(text.matchAll(DYNAMIC), ([, name = ""]) => name),
    );
    const rest = await loadedWith(onDemand);
    assert.ok([...rest.values()].some((text) => SDK.test(text)));
  });
});
