import assert from "node:assert/strict";
import { describe, it } from "node:test";

import type { CacheInfo } from "../cache/contract.ts";
import { openCache } from "../cache/open-cache.ts";
import { HandpickError } from "../error.ts";
import { generateSecretKey, printPublicKey, publicKeyOf, type SecretKey } from "../nix/key.ts";
import { assertWritable, type OpenedCache } from "./open-caches.ts";

const INFO: CacheInfo = {
  readUrl: "https://acme.example",
  storeDir: "/nix/store",
  publicKeys: [],
  isPublic: true,
  writable: true,
  preferredCompression: undefined,
};

/** A cache that is to be signed for with a key of our own. */
async function opened(
  url = "cachix://acme",
  signingKeys: readonly SecretKey[] = [generateSecretKey("ours-1")],
): Promise<OpenedCache> {
  return {
    config: { name: "mine", url } as OpenedCache["config"],
    cache: await openCache({ name: "mine", url, env: {} }),
    credentials: { signingKeys, warnings: [] } as never,
  };
}

describe("assertWritable()", () => {
  const refusal = async (publicKeys: readonly string[]): Promise<string> => {
    try {
      assertWritable(await opened(), { ...INFO, publicKeys: [...publicKeys] });
    } catch (error) {
      assert.ok(error instanceof HandpickError);
      assert.equal(error.code, "KEY_MISMATCH");
      return error.message;
    }
    return assert.fail("nothing was refused");
  };

  it("shows the keys of a cache on a line each, without what steers a terminal", async () => {
    const message = await refusal(["a-1:AA==\n  ours   fake", "b-1:\u001b[2J\u009b31m\u202eBB=="]);
    const lines = message.split("\n").slice(1);
    assert.deepEqual(
      lines.map((line) => line.slice(0, 9)),
      ["  ours   ", "  theirs ", "  theirs "],
    );
    assert.doesNotMatch(message.replaceAll("\n", ""), /\p{C}/u);
  });

  it("wants readers to trust one of several keys, and the one that is used where it is one", async () => {
    const keys = ["next-1", "old-1"].map((name) => generateSecretKey(name));
    const [next, old] = keys.map((key) => [printPublicKey(publicKeyOf(key))]);
    const check = async (url: string, publicKeys: readonly string[] = []): Promise<void> =>
      assertWritable(await opened(url, keys), { ...INFO, publicKeys });
    await check("file:///srv/cache", next);
    await check("file:///srv/cache", old);
    await check("cachix://acme", next);
    for (const url of ["cachix://acme", "file:///srv/cache"]) {
      const others = url.startsWith("file") ? ["other-1:AA=="] : old;
      await assert.rejects(check(url, others), { code: "KEY_MISMATCH" });
    }
  });

  it("shows eight of them and counts the rest", async () => {
    const message = await refusal(Array.from({ length: 100 }, (_, index) => `key-${index}:AA==`));
    assert.equal(message.match(/theirs/g)?.length, 8);
    assert.match(message, /\n {2}and 92 more$/);
  });
});
