import assert from "node:assert/strict";
import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";

import { tempDir } from "../../test/temp.ts";
import { toyPath } from "../../test/toy-paths.ts";
import { realise } from "./realise.ts";

const SECRET = "pa55word-of-readers";
const AUTHORIZATION = `Basic ${Buffer.from(`me:${SECRET}`).toString("base64")}`;

/** A private cache that has nothing, and holds back the answer to the first question for a path. */
async function privateCache() {
  const seen: unknown[] = [];
  const asked = Promise.withResolvers<void>();
  const held = Promise.withResolvers<void>();
  const server = createServer(async ({ url, headers }, response) => {
    seen.push([url, headers.authorization]);
    if (url === "/nix-cache-info") return response.end("StoreDir: /nix/store\n");
    asked.resolve();
    await held.promise;
    return response.writeHead(404).end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    asked: asked.promise,
    answer: held.resolve,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

describe("realise()", { timeout: 60_000 }, () => {
  const before = process.env["TMPDIR"];
  let temp: Awaited<ReturnType<typeof tempDir>>;
  beforeEach(async () => {
    temp = await tempDir();
    process.env["TMPDIR"] = temp.dir;
  });
  afterEach(async () => {
    if (before === undefined) delete process.env["TMPDIR"];
    else process.env["TMPDIR"] = before;
    await temp[Symbol.asyncDispose]();
  });

  const start = (url: string, signal: AbortSignal): Promise<string | undefined> =>
    realise([toyPath("lib")], {
      substituters: [url],
      publicKeys: [],
      netrc: `machine 127.0.0.1 login me password ${SECRET}\n`,
      env: { PATH: process.env["PATH"] },
      signal,
    });

  const skip = process.platform !== "linux" && "elsewhere the file needs a name";
  it("has Nix read with a secret that stands in no file", { skip }, async () => {
    await using cache = await privateCache();
    const running = start(cache.url, new AbortController().signal);
    await cache.asked;
    const names = await readdir(temp.dir, { recursive: true, withFileTypes: true });
    const files = names.filter((entry) => entry.isFile());
    assert.ok(files.length > 1, "Nix has its files there");
    for (const { parentPath, name } of files) {
      const bytes = await readFile(join(parentPath, name));
      assert.equal(bytes.includes(SECRET), false, name);
    }
    cache.answer();
    assert.match((await running) ?? "", /-lib/);
    assert.deepEqual(
      new Set(cache.seen.map((one) => (one as unknown[])[1])),
      new Set([AUTHORIZATION]),
    );
    assert.deepEqual(await readdir(temp.dir), []);
  });

  it("ends Nix, and leaves nothing, when it is interrupted", async () => {
    await using cache = await privateCache();
    const stop = new AbortController();
    const running = start(cache.url, stop.signal);
    await cache.asked;
    const reason = new Error("stop");
    stop.abort(reason);
    await assert.rejects(running, reason);
    assert.deepEqual(await readdir(temp.dir), []);
  });
});
