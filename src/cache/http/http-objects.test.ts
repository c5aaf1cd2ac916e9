import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { createFakeClock } from "../../../test/fakes/clock.ts";
import {
  always,
  type Answer,
  startPutServer,
  type PutServer,
} from "../../../test/fakes/put-server.ts";
import { sampleUpload } from "../../../test/sample-upload.ts";
import { HandpickError } from "../../error.ts";
import { hashPartOf } from "../../nix/store-path.ts";
import { Secret } from "../../secret.ts";
import type { Cache, Upload } from "../contract.ts";
import type { OpenCacheOptions } from "../kind.ts";
import { openCache } from "../open-cache.ts";

const { signal } = new AbortController();
const PAGE = { "content-type": "text/html" };

interface Rig extends AsyncDisposable {
  readonly server: PutServer;
  readonly cache: Cache;
  readonly sleeps: readonly number[];
}

async function createRig(answer?: Answer, options: Partial<OpenCacheOptions> = {}): Promise<Rig> {
  const server = await startPutServer(answer);
  const clock = createFakeClock();
  const cache = await openCache({ name: "mine", url: server.url, env: {}, clock, ...options });
  return {
    server,
    cache,
    sleeps: clock.sleeps,
    async [Symbol.asyncDispose]() {
      await cache[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

async function publish(cache: Cache, name: string, parts = 1): Promise<void> {
  const sample = sampleUpload({ name, parts });
  const upload = await cache.beginUpload(sample.request, signal);
  try {
    for (const part of sample.parts) await upload.putPart(part, signal);
    await upload.publish(sample.packed, signal);
  } finally {
    await upload.abort();
  }
}

async function failure(promise: Promise<unknown>): Promise<HandpickError> {
  const error = await promise.then(
    () => undefined,
    (error: unknown) => error,
  );
  assert.ok(error instanceof HandpickError, String(error));
  return error;
}

/** The methods and names of requests, hashes shortened to their kind. */
function shape({ requests }: PutServer): string[] {
  return requests.map(
    ({ method, name }) =>
      `${method} ${name.replace(/^\w{32}\.narinfo$/, "HASH.narinfo").replace(/\w{52}/, "FILE")}`,
  );
}

describe("a cache on a web server", () => {
  it("puts the store, the NAR and then the narinfo, with types and lengths", async () => {
    await using rig = await createRig();
    await publish(rig.cache, "app");
    await publish(rig.cache, "lib");
    assert.deepEqual(shape(rig.server), [
      "GET nix-cache-info",
      "PUT nix-cache-info",
      "PUT nar/FILE.nar.zst",
      "PUT HASH.narinfo",
      "PUT nar/FILE.nar.zst",
      "PUT HASH.narinfo",
    ]);
    const puts = rig.server.requests.filter(({ method }) => method === "PUT");
    assert.ok(puts.every(({ headers }) => headers["content-length"] !== undefined));
    assert.deepEqual(
      puts.slice(0, 3).map(({ headers }) => headers["content-type"]),
      ["text/x-nix-cache-info", "application/x-nix-nar", "text/x-nix-narinfo"],
    );
    assert.equal(rig.server.files.get("nix-cache-info")?.toString(), "StoreDir: /nix/store\n");
  });

  it("leaves a nix-cache-info alone, also one that names no store", async () => {
    await using rig = await createRig();
    rig.server.files.set("nix-cache-info", Buffer.from("Priority: 30\n"));
    const { priority, storeDir, writable, isPublic } = await rig.cache.info(signal);
    assert.deepEqual(
      [priority, storeDir, writable, isPublic],
      [30, "/nix/store", undefined, undefined],
    );
    await publish(rig.cache, "app");
    assert.equal(rig.server.files.get("nix-cache-info")?.toString(), "Priority: 30\n");
  });

  it("asks whether a NAR of several parts is there, and sends it in one request", async () => {
    await using rig = await createRig();
    await publish(rig.cache, "app", 3);
    assert.deepEqual(shape(rig.server).slice(2), [
      "HEAD nar/FILE.nar.zst",
      "PUT nar/FILE.nar.zst",
      "PUT HASH.narinfo",
    ]);
    const { file, packed } = sampleUpload({ name: "app" });
    const [nar] = [...rig.server.files].find(([name]) => name.startsWith("nar/")) ?? [];
    assert.equal(nar, `nar/${packed.fileHash.slice("sha256:".length)}.nar.zst`);
    assert.deepEqual(rig.server.files.get(nar), file);
    await publish(rig.cache, "app", 3);
    assert.deepEqual(shape(rig.server).slice(5), ["HEAD nar/FILE.nar.zst", "PUT HASH.narinfo"]);
    // One of another size is not whole.
    rig.server.files.set(nar, Buffer.from("half"));
    await publish(rig.cache, "app", 3);
    assert.deepEqual(rig.server.files.get(nar), file);
  });

  it("takes any of 200, 201 and 204 for a success, with a page where the server made one", async () => {
    for (const answer of [
      always("PUT", 200),
      always("PUT", 201, { text: "<html>Created", headers: PAGE }),
      always("PUT", 204),
    ]) {
      await using rig = await createRig(answer);
      await publish(rig.cache, "app");
    }
  });

  for (const [status, code, hint] of [
    [400, "UPLOAD_REJECTED", /its log may say why/],
    [401, "CACHE_REFUSED", /Check the token, or the user and password/],
    [403, "CACHE_REFUSED", /lets us write there/],
    [404, "CACHE_NOT_FOUND", /nothing there takes files/],
    [405, "CACHE_READ_ONLY", /takes no PUT: it is read-only, or its WebDAV is off/],
    [409, "UPLOAD_REJECTED", /create_full_put_path on/],
    [411, "UPLOAD_REJECTED", /leaves Content-Length out/],
    [413, "UPLOAD_REJECTED", /client_max_body_size/],
    [501, "CACHE_READ_ONLY", /takes no PUT/],
    [507, "UPLOAD_REJECTED", /Make room where the cache is stored/],
  ] as const) {
    it(`says what ${status} to a PUT means, at once`, async () => {
      const page = { text: `<html><title>${status} No</title>`, headers: PAGE };
      await using rig = await createRig(always("PUT", status, page));
      const error = await failure(publish(rig.cache, "app"));
      assert.equal(error.code, code);
      assert.match(error.hint ?? "", hint);
      const message = `Cannot write to cache "mine": expected a success, received status ${status}: a page, "${status} No"`;
      assert.equal(error.message, message);
      assert.deepEqual(rig.sleeps, []);
    });
  }

  it("repeats after answers that pass, and gives up as for every cache", async () => {
    for (const status of [408, 429, 500, 502, 503, 504]) {
      let left = 2;
      await using rig = await createRig(async (incoming, response) => {
        if (incoming.method !== "PUT" || left === 0) return false;
        left -= 1;
        return await always("PUT", status)(incoming, response);
      });
      await publish(rig.cache, "app", 2);
      assert.equal(rig.sleeps.length, 2);
    }
    await using rig = await createRig(always("PUT", 503));
    const { code, message } = await failure(publish(rig.cache, "app"));
    assert.equal(code, "CACHE_UNAVAILABLE");
    assert.match(message, /received status 503$/);
  });

  it("sends again what was cut, and what the answer was lost of", async () => {
    let cuts = 0;
    await using rig = await createRig(async (incoming, response) => {
      if (incoming.method !== "PUT" || cuts === 4) return false;
      cuts += 1;
      // Before the body was read, or after: the server may have the file.
      if (cuts % 2 === 0) for await (const _ of incoming);
      response.destroy();
      return true;
    });
    await publish(rig.cache, "app", 2);
    assert.equal(cuts, 4);
    const { file } = sampleUpload({ name: "app" });
    const nar = [...rig.server.files].find(([name]) => name.startsWith("nar/"))?.[1];
    assert.deepEqual(nar, file);
  });

  it("does not follow a PUT that is redirected, and names the address without what may be secret", async () => {
    const location = "https://me:pw@other.example:444/dir/x?token=SECRET";
    await using rig = await createRig(always("PUT", 301, { headers: { location } }));
    const { code, message, hint } = await failure(publish(rig.cache, "app"));
    assert.equal(code, "CACHE_PROTOCOL");
    assert.match(message, /received status 301 to https:\/\/other\.example:444\/dir\/x$/);
    assert.match(hint ?? "", /name the address that it leads to as the url/);
  });

  it("follows a GET that is redirected, and sends credentials to no other origin", async () => {
    await using other = await createRig();
    other.server.files.set("nix-cache-info", Buffer.from("Priority: 7\n"));
    const location = `${other.server.url}/nix-cache-info`;
    const token = new Secret("the-token-of-the-user");
    const options = { token };
    await using rig = await createRig(always("GET", 302, { headers: { location } }), options);
    assert.equal((await rig.cache.info(signal)).priority, 7);
    const sent = [rig, other].map(({ server }) => server.requests[0]?.headers.authorization);
    assert.deepEqual(sent, ["Bearer the-token-of-the-user", undefined]);
  });

  it("takes a page in place of an answer for none", async () => {
    const page = { text: "<!DOCTYPE html><title>Log in</title>", headers: PAGE };
    await using put = await createRig(always("PUT", 200, page));
    assert.match((await failure(publish(put.cache, "app"))).message, /received a page of HTML$/);
    await using get = await createRig(always("GET", 200, page));
    const hash = hashPartOf(sampleUpload({ name: "app" }).storePath);
    assert.deepEqual(await get.cache.missing([hash], signal), new Set([hash]));
    for (const promise of [get.cache.info(signal), publish(get.cache, "app")]) {
      assert.match((await failure(promise)).message, /expected nix-cache-info, received something/);
    }
  });

  it("lacks what is absent, and is told apart from a server that does not let us look", async () => {
    const hash = hashPartOf(sampleUpload({ name: "app" }).storePath);
    for (const status of [404, 410]) {
      await using rig = await createRig(always("GET", status));
      assert.equal((await rig.cache.missing([hash], signal)).size, 1);
    }
    for (const status of [401, 403]) {
      await using rig = await createRig(always("GET", status));
      assert.equal((await failure(rig.cache.missing([hash], signal))).code, "CACHE_REFUSED");
    }
  });

  it("sends a token, else user and password, with every request", async () => {
    const token = new Secret("t0ken");
    const login = { user: "me", password: new Secret("pä:ss") };
    for (const [options, expected] of [
      [{ token, login }, "Bearer t0ken"],
      [{ login }, `Basic ${Buffer.from("me:pä:ss").toString("base64")}`],
      [{}, undefined],
    ] as const) {
      await using rig = await createRig(undefined, options);
      await publish(rig.cache, "app", 2);
      const sent = new Set(rig.server.requests.map(({ headers }) => headers.authorization));
      assert.deepEqual(sent, new Set([expected]));
    }
  });

  it("repeats no password in an error, though the server does", async () => {
    const login = { user: "me", password: new Secret("hunter2") };
    const text = "hunter2 is wrong, and so is aHVudGVyMg==";
    await using rig = await createRig(always("PUT", 401, { text }), { login });
    assert.match((await failure(publish(rig.cache, "app"))).message, /: … is wrong, and/);
  });

  it("gives up a server that says nothing within the time for the first answer", async () => {
    await using rig = await createRig(() => true, { firstContactMs: 100 });
    const { code, message } = await failure(rig.cache.info(signal));
    assert.equal(code, "NETWORK");
    assert.match(message, /no complete answer within 0\.1 s$/);
  });

  it("has eight large NARs on their way at once, and lets a small one pass", async () => {
    await using rig = await createRig();
    const sample = sampleUpload({ name: "large", info: { narSize: 16 << 20 } });
    const begin = (): Promise<Upload> => rig.cache.beginUpload(sample.request, signal);
    const [first, second] = await Promise.all(Array.from({ length: 8 }, begin));
    assert.ok(first && second);
    const waiting = [begin(), begin()];
    const begun: Upload[] = [];
    for (const upload of waiting) void upload.then((upload) => begun.push(upload));
    await publish(rig.cache, "small");
    const stop = new AbortController();
    const stopped = rig.cache.beginUpload(sample.request, stop.signal);
    stop.abort(new Error("stop"));
    await assert.rejects(stopped, /stop/);
    assert.equal(begun.length, 0);
    // One that turns out to have a single part waits on no disk.
    for (const part of sample.parts) await first.putPart(part, signal);
    await waiting[0];
    assert.equal(begun.length, 1);
    await second.abort();
    await waiting[1];
  });

  it("waits a moment for the answer to a narinfo that was sent when it was interrupted", async () => {
    const stop = new AbortController();
    await using rig = await createRig((incoming, response) => {
      const isNarInfo = incoming.method === "PUT" && incoming.url?.endsWith(".narinfo") === true;
      if (!isNarInfo) return false;
      stop.abort(new Error("stop"));
      setImmediate(() => response.writeHead(201).end());
      return true;
    });
    const sample = sampleUpload({ name: "app" });
    const upload = await rig.cache.beginUpload(sample.request, signal);
    for (const part of sample.parts) await upload.putPart(part, signal);
    await upload.publish(sample.packed, stop.signal);
    const other = await rig.cache.beginUpload(sample.request, signal);
    await assert.rejects(other.publish(sample.packed, stop.signal), /stop/);
  });
});
