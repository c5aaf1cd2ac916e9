import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, it } from "node:test";

import { createFakeClock } from "../../test/fakes/clock.ts";
import { sampleUpload } from "../../test/sample-upload.ts";
import { hashPartOf } from "../nix/store-path.ts";
import type { HashPart } from "../nix/store-path.ts";
import { availableUpstream } from "./upstream.ts";
import type { UpstreamOptions } from "./upstream.ts";

interface FakeUpstream extends AsyncDisposable {
  readonly url: string;
  /** Hash parts asked for, in order. */
  readonly asked: string[];
  /** The client's ports: one for each request that was under way beside others. */
  readonly ports: ReadonlySet<number | undefined>;
  /** Settles once the client has closed all its connections. */
  hungUp(): Promise<unknown>;
}

/** A binary cache in `/cache` that answers HEAD with `status(hash)`. */
async function startUpstream(
  status: (hash: string) => number,
  headers: Readonly<Record<string, string>> = {},
): Promise<FakeUpstream> {
  const asked: string[] = [];
  const ports = new Set<number | undefined>();
  const server = createServer((incoming, response) => {
    const hash = /^\/cache\/([0-9a-z]{32})\.narinfo$/.exec(incoming.url ?? "")?.[1];
    assert.equal(incoming.method, "HEAD");
    assert.ok(hash !== undefined, incoming.url);
    asked.push(hash);
    ports.add(incoming.socket.remotePort);
    // As real caches do; without a length, Node takes the end of a HEAD for that of the connection.
    response.writeHead(status(hash), { "content-length": 0, ...headers }).end();
  });
  const closed: Promise<unknown>[] = [];
  server.on("connection", (socket) => closed.push(once(socket, "close")));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/cache`,
    asked,
    ports,
    hungUp: () => Promise.all(closed),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

const HASHES = Array.from({ length: 300 }, (_, index) =>
  hashPartOf(sampleUpload({ name: `path-${index}` }).storePath),
);
const [A, B, C] = HASHES as [HashPart, HashPart, HashPart];

const options = (): UpstreamOptions => ({
  signal: new AbortController().signal,
  env: {},
  clock: createFakeClock(),
});

describe("availableUpstream()", () => {
  it("tells what the caches have, asking the second only for what the first lacks", async () => {
    await using first = await startUpstream((hash) => (hash === A ? 200 : 404));
    await using second = await startUpstream((hash) => (hash === B ? 200 : 403));
    const found = await availableUpstream([A, B, C], [first.url, second.url], options());
    assert.deepEqual(found, new Set([A, B]));
    assert.deepEqual(first.asked.toSorted(), [A, B, C].toSorted());
    assert.deepEqual(second.asked.toSorted(), [B, C].toSorted());
  });

  it("asks for each path once and for at most 64 at once", async () => {
    await using upstream = await startUpstream(() => 200);
    const found = await availableUpstream([...HASHES, ...HASHES], [upstream.url], options());
    assert.equal(found.size, 300);
    assert.equal(upstream.asked.length, 300);
    assert.equal(upstream.ports.size, 64);
  });

  it("closes its connections when it knows, and when it failed", { timeout: 4_000 }, async () => {
    for (const status of [200, 401]) {
      await using upstream = await startUpstream(() => status);
      await availableUpstream([A, B], [upstream.url], options()).catch(() => undefined);
      assert.ok(upstream.ports.size > 0);
      await upstream.hungUp();
    }
  });

  it("takes a page of the web, such as a login, for no path", async () => {
    const page = { "content-type": "text/html; charset=utf-8" };
    await using upstream = await startUpstream(() => 200, page);
    await assert.rejects(availableUpstream([A], [upstream.url], options()), {
      code: "CACHE_PROTOCOL",
      message: /expected a cache, found web pages$/,
    });
  });

  it("asks nobody for nothing", async () => {
    await using upstream = await startUpstream(() => 200);
    assert.equal((await availableUpstream([], [upstream.url], options())).size, 0);
    assert.equal((await availableUpstream([A], [], options())).size, 0);
    assert.deepEqual(upstream.asked, []);
  });

  it("leaves settings for Nix and slashes out of the address", async () => {
    await using upstream = await startUpstream(() => 200);
    const found = await availableUpstream([A], [`${upstream.url}//?priority=10`], options());
    assert.deepEqual(found, new Set([A]));
  });

  it("repeats what fails for a passing reason", async () => {
    let failures = 2;
    await using upstream = await startUpstream(() => (failures-- > 0 ? 503 : 200));
    assert.deepEqual(await availableUpstream([A], [upstream.url], options()), new Set([A]));
    assert.equal(upstream.asked.length, 3);
  });

  it("fails where it was not told", async () => {
    const codes = [
      [500, "CACHE_UNAVAILABLE"],
      [401, "CACHE_REFUSED"],
      [410, "CACHE_PROTOCOL"],
      [304, "CACHE_PROTOCOL"],
    ] as const;
    for (const [status, code] of codes) {
      await using upstream = await startUpstream(() => status);
      await assert.rejects(availableUpstream([A], [upstream.url], options()), { code });
    }
  });

  it("fails soon where nobody listens", async () => {
    const gone = await startUpstream(() => 200);
    await gone[Symbol.asyncDispose]();
    const clock = createFakeClock();
    const asking = availableUpstream([A], [gone.url], { ...options(), clock, random: () => 0 });
    await assert.rejects(asking, { code: "NETWORK" });
    assert.deepEqual(clock.sleeps, [500, 1000, 2000]);
  });

  it("refuses what is not a public cache of the web, without showing a password", async () => {
    for (const url of ["s3://bucket", "cache.nixos.org", "https://user:secret@host/", ""]) {
      await assert.rejects(availableUpstream([A], [url], options()), {
        code: "CACHE_URL_UNSUPPORTED",
        message: /^(?!.*secret).*expected http:/,
      });
    }
  });

  it("stops with the reason of its signal", async () => {
    const stop = new AbortController();
    const reason = new Error("stop");
    await using upstream = await startUpstream(() => {
      stop.abort(reason);
      return 200;
    });
    const stopped = { ...options(), signal: stop.signal };
    await assert.rejects(availableUpstream(HASHES, [upstream.url], stopped), reason);
  });
});
