import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { describe, it } from "node:test";

import { openHttpReader } from "../src/cache/http/http-reader.ts";
import { openCache } from "../src/cache/open-cache.ts";
import { generateSecretKey, printPublicKey, publicKeyOf } from "../src/nix/key.ts";
import { parseNarInfo } from "../src/nix/narinfo.ts";
import { hashPartOf } from "../src/nix/store-path.ts";
import { startServer } from "../src/serve/server.ts";
import { cacheConformance } from "./cache-conformance.ts";
import type { ConformanceRig, SetupOptions } from "./conformance-rig.ts";
import { sampleUpload } from "./sample-upload.ts";
import { tempDir } from "./temp.ts";
import { Secret } from "../src/secret.ts";

const { signal } = new AbortController();

interface ServeRig extends ConformanceRig {
  readonly url: string;
}

/** Our client and our server, each with its own reading of the service. */
async function setup({ clock, disk }: SetupOptions = {}): Promise<ServeRig> {
  await using cleanup = new AsyncDisposableStack();
  const dir = disk ?? cleanup.use(await tempDir()).dir;
  const place = { dir, host: "127.0.0.1", port: 0, name: "acme", isPrivate: false };
  const server = cleanup.use(await startServer(place));
  const token = (await readFile(server.tokenFile, "utf8")).trim();
  const { url } = server;
  const cache = cleanup.use(
    await openCache({
      name: "own",
      url: "cachix://acme",
      host: url,
      token: new Secret(token),
      clock,
      env: {},
    }),
  );
  const patience = { offlineMs: 1_000, delaysMs: 1_000, triesMs: 5_000 };
  const reader = cleanup.use(openHttpReader(url, { role: "cache", env: {}, ...patience }));
  const owned = cleanup.move();
  return {
    cache,
    url,
    checksNars: true,
    isServed: async (hashPart) => {
      const answer = await fetch(`${url}/${hashPart}.narinfo`);
      const text = await answer.text();
      return answer.ok && hashPartOf(parseNarInfo(text).storePath) === hashPart;
    },
    narInfo: (path) => reader.narInfo(path, signal),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

cacheConformance({
  name: "startServer() behind createCachixCache()",
  setup,
  disk: { isHeld: true },
});

describe("startServer() and createCachixCache()", () => {
  it("agree on keys and on what readers get", async () => {
    await using rig = await setup();
    const key = printPublicKey(publicKeyOf(generateSecretKey("mine-1")));
    await rig.cache.registerKey?.(key, signal);
    const { publicKeys, readUrl, isPublic } = await rig.cache.info(signal);
    assert.ok(publicKeys?.some((known) => known.endsWith(key.slice(key.indexOf(":")))));
    assert.deepEqual([readUrl, isPublic], [rig.url, true]);

    const { storePath, parts, request, packed } = sampleUpload({ name: "read" });
    const upload = await rig.cache.beginUpload(request, signal);
    for (const part of parts) await upload.putPart(part, signal);
    await upload.publish(packed, signal);
    const answer = await fetch(`${readUrl}/${hashPartOf(storePath)}.narinfo`);
    const narInfo = parseNarInfo(await answer.text());
    assert.equal(narInfo.storePath, storePath);
    assert.deepEqual(
      [narInfo.fileHash, narInfo.fileSize, narInfo.narHash, narInfo.narSize],
      [packed.fileHash, packed.fileSize, request.info.narHash, request.info.narSize],
    );
    assert.equal(narInfo.signatures.length, 1);
  });

  it("agree on a wrong token and on a wrong name", async () => {
    await using rig = await setup();
    const host = rig.url;
    const hashPart = hashPartOf(sampleUpload({ name: "a" }).storePath);
    await using wrong = await openCache({
      name: "w",
      url: "cachix://acme",
      host,
      token: new Secret("no"),
      env: {},
    });
    await assert.rejects(wrong.info(signal), { code: "CACHE_NOT_FOUND" });
    await assert.rejects(wrong.missing([hashPart], signal), { code: "CACHE_NOT_FOUND" });
    await using other = await openCache({ name: "o", url: "cachix://other", host, env: {} });
    await assert.rejects(other.info(signal), { code: "CACHE_NOT_FOUND" });
  });
});
