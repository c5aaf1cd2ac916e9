import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, it } from "node:test";

import { createFakeClock } from "../../test/fakes/clock.ts";
import { sampleUpload } from "../../test/sample-upload.ts";
import { printNarInfo } from "../nix/narinfo.ts";
import { hashPartOf, parseStorePath } from "../nix/store-path.ts";
import type { HashPart, StorePath } from "../nix/store-path.ts";
import { askUpstreams } from "./upstream.ts";
import type { UpstreamOptions } from "./upstream.ts";

interface Reply {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

interface FakeUpstream extends AsyncDisposable {
  readonly url: string;
  /** Hash parts asked for, in order. */
  readonly asked: string[];
  /** The client's ports: one for each request that was under way beside others. */
  readonly ports: ReadonlySet<number | undefined>;
  /** Settles once the client has closed all its connections. */
  hungUp(): Promise<unknown>;
}

/** A binary cache in `/cache`: of a status alone, 200 stands for the narinfo that was asked for. */
async function startUpstream(reply: (hash: string) => number | Reply): Promise<FakeUpstream> {
  const asked: string[] = [];
  const ports = new Set<number | undefined>();
  const server = createServer((incoming, response) => {
    const hash = /^\/cache\/([0-9a-z]{32})\.narinfo$/.exec(incoming.url ?? "")?.[1];
    assert.equal(incoming.method, "GET");
    assert.ok(hash !== undefined, incoming.url);
    asked.push(hash);
    ports.add(incoming.socket.remotePort);
    const given = reply(hash);
    const {
      status = 200,
      headers = {},
      body = "",
    } = typeof given === "number"
      ? { status: given, body: given === 200 ? NARINFOS.get(hash) : "" }
      : given;
    response.writeHead(status, headers).end(body);
  });
  const closed: Promise<unknown>[] = [];
  server.on("connection", (socket) => {
    socket.on("error", () => undefined);
    closed.push(new Promise((resolve) => socket.once("close", resolve)));
  });
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

const SAMPLES = Array.from({ length: 300 }, (_, index) => sampleUpload({ name: `path-${index}` }));
const SAMPLE = SAMPLES[0] as (typeof SAMPLES)[0];
const PATHS = SAMPLES.map(({ storePath }) => storePath);
const [A, B, C] = PATHS as [StorePath, StorePath, StorePath];
const [HASH_A, HASH_B, HASH_C] = [A, B, C].map(hashPartOf) as [HashPart, HashPart, HashPart];
const narInfo = (storePath: StorePath): string =>
  printNarInfo({
    ...SAMPLE.request.info,
    ...SAMPLE.packed,
    storePath,
    url: "nar/x.nar.zst",
    compression: "zstd",
    system: undefined,
    signatures: [],
    ca: undefined,
  });
const NARINFOS = new Map<string, string>(PATHS.map((path) => [hashPartOf(path), narInfo(path)]));

const options = (): UpstreamOptions => ({
  signal: new AbortController().signal,
  env: {},
  clock: createFakeClock(),
});

describe("askUpstreams()", () => {
  it("tells what the caches have, asking the second only for what the first lacks", async () => {
    await using first = await startUpstream((hash) => (hash === HASH_A ? 200 : 404));
    await using second = await startUpstream((hash) => (hash === HASH_B ? 200 : 403));
    const answer = await askUpstreams([A, B, C], [first.url, second.url], options());
    assert.deepEqual(answer, {
      available: new Map([
        [HASH_A, first.url],
        [HASH_B, second.url],
      ]),
      unknown: new Set(),
      failures: [],
      warnings: [],
    });
    assert.deepEqual(first.asked.toSorted(), [HASH_A, HASH_B, HASH_C].toSorted());
    assert.deepEqual(second.asked.toSorted(), [HASH_B, HASH_C].toSorted());
  });

  it("asks for each path once and for at most 64 at once", async () => {
    await using upstream = await startUpstream(() => 200);
    const { available } = await askUpstreams([...PATHS, ...PATHS], [upstream.url], options());
    assert.equal(available.size, 300);
    assert.equal(upstream.asked.length, 300);
    assert.equal(upstream.ports.size, 64);
  });

  it("closes its connections when it knows, and when it failed", { timeout: 4_000 }, async () => {
    for (const status of [200, 400]) {
      await using upstream = await startUpstream(() => status);
      await askUpstreams([A, B], [upstream.url], options());
      assert.ok(upstream.ports.size > 0);
      await upstream.hungUp();
    }
  });

  it("takes an answer that is no narinfo of the path for none, and says so once", async () => {
    const other = narInfo(C);
    const sameHash = narInfo(parseStorePath(`/nix/store/${HASH_A}-another-name`));
    const json = { "content-type": "application/json" };
    const narinfo = { "content-type": "text/x-nix-narinfo" };
    for (const [reply, found] of [
      [{ body: "", headers: narinfo }, /found nothing/],
      [{ status: 204 }, /found nothing/],
      [{ body: "{}", headers: json }, /found something else/],
      [{ body: "ok", headers: { "content-type": "text/plain" } }, /found something else/],
      [{ body: "<HTML>", headers: { "content-type": "TEXT/HTML" } }, /found something else/],
      [{ body: "<html/>", headers: { "content-type": "application/xhtml+xml" } }, /something else/],
      [{ body: "<p>" }, /found something else/],
      [{ body: "StorePath: /nix/store/x\n", headers: narinfo }, /found something else/],
      [{ body: narInfo(A).slice(0, 90), headers: narinfo }, /found something else/],
      [{ body: other, headers: narinfo }, /found that of another path/],
      [{ body: sameHash, headers: narinfo }, /found that of another path/],
    ] as const) {
      await using upstream = await startUpstream(() => reply);
      const { available, unknown, failures, warnings } = await askUpstreams(
        [A, B],
        [upstream.url],
        options(),
      );
      assert.deepEqual([available.size, unknown.size, failures], [0, 0, []], String(found));
      assert.equal(warnings.length, 1);
      assert.match(warnings[0] ?? "", found);
    }
  });

  it("asks nobody for nothing", async () => {
    await using upstream = await startUpstream(() => 200);
    assert.equal((await askUpstreams([], [upstream.url], options())).available.size, 0);
    assert.equal((await askUpstreams([A], [], options())).available.size, 0);
    assert.deepEqual(upstream.asked, []);
  });

  it("leaves settings for Nix and slashes out of the address", async () => {
    await using upstream = await startUpstream(() => 200);
    const url = `${upstream.url}//?priority=10`;
    const { available } = await askUpstreams([A], [url], options());
    assert.deepEqual([...available.keys()], [HASH_A]);
  });

  it("repeats what fails for a passing reason", async () => {
    let failures = 2;
    await using upstream = await startUpstream(() => (failures-- > 0 ? 503 : 200));
    const { available } = await askUpstreams([A], [upstream.url], options());
    assert.deepEqual([...available.keys()], [HASH_A]);
    assert.equal(upstream.asked.length, 3);
  });

  it("takes 401, 403, 404 and 410 for a path that is not there", async () => {
    for (const status of [401, 403, 404, 410]) {
      await using upstream = await startUpstream(() => status);
      const answer = await askUpstreams([A], [upstream.url], options());
      assert.deepEqual([answer.unknown.size, answer.failures], [0, []], String(status));
    }
  });

  it("leaves open what an upstream that fails may have, and asks the next all the same", async () => {
    for (const [status, code] of [
      [500, "CACHE_UNAVAILABLE"],
      [429, "CACHE_UNAVAILABLE"],
      [400, "CACHE_PROTOCOL"],
      [304, "CACHE_PROTOCOL"],
    ] as const) {
      await using failing = await startUpstream(() => status);
      await using next = await startUpstream((hash) => (hash === HASH_B ? 200 : 404));
      const answer = await askUpstreams([A, B, C], [failing.url, next.url], options());
      assert.deepEqual([...answer.available.keys()], [HASH_B]);
      assert.deepEqual(answer.unknown, new Set([HASH_A, HASH_C]));
      assert.deepEqual(
        answer.failures.map((failure) => failure.code),
        [code],
      );
    }
  });

  it("is done soon where nobody listens, or a server fails for ever", async () => {
    const gone = await startUpstream(() => 200);
    await gone[Symbol.asyncDispose]();
    await using failing = await startUpstream(() => ({ status: 503 }));
    await using asking = await startUpstream(() => ({
      status: 429,
      headers: { "retry-after": "60" },
    }));
    for (const [url, sleeps] of [
      [gone.url, [500, 1000, 2000]],
      [failing.url, [500, 1000, 2000, 4000]],
      [asking.url, []],
    ] as const) {
      const clock = createFakeClock();
      const { unknown } = await askUpstreams([A], [url], { ...options(), clock, random: () => 0 });
      assert.deepEqual(unknown, new Set([HASH_A]));
      assert.deepEqual(clock.sleeps, sleeps);
    }
  });

  it("fails where our own settings are wrong", async () => {
    const env = { http_proxy: "socks5://127.0.0.1:1" };
    const asking = askUpstreams([A], ["http://cache.invalid/"], { ...options(), env });
    await assert.rejects(asking, { code: "CONFIG_INVALID" });
  });

  it("refuses what is not a public cache of the web, without showing a password", async () => {
    for (const url of ["s3://bucket", "cache.nixos.org", "https://user:secret@host/", ""]) {
      await assert.rejects(askUpstreams([A], [url], options()), {
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
    await assert.rejects(askUpstreams(PATHS, [upstream.url], stopped), reason);
  });
});
