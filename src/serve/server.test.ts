import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, describe, it, mock } from "node:test";

import { Hono } from "hono";

import {
  md5Of,
  sample,
  startTestServer,
  temporaryFolder,
  type TestServer,
} from "../../test/serve-client.ts";
import { hashPartOf } from "../nix/store-path.ts";
import { nixConfLines } from "./server.ts";

const mode = async (file: string): Promise<number> => (await stat(file)).mode & 0o777;

/** An app that answers only when it is released. */
function gate(): { wrap: (app: Hono) => Hono; entered: Promise<void>; release: () => void } {
  const entered = Promise.withResolvers<void>();
  const released = Promise.withResolvers<void>();
  const wrap = (app: Hono): Hono => {
    const outer = new Hono();
    outer.get("/slow", async (c) => {
      entered.resolve();
      await released.promise;
      return c.text("late");
    });
    outer.route("/", app);
    return outer;
  };
  return { wrap, entered: entered.promise, release: released.resolve };
}

describe("startServer()", () => {
  it("makes a folder of its own with secrets for its owner only", async () => {
    await using folder = await temporaryFolder();
    const dir = join(folder.path, "new/cache");
    await using rig = await startTestServer({ dir });
    for (const name of [
      "token",
      "signing-key",
      "part-url-key",
      "cache.sqlite",
      "cache.sqlite-wal",
    ]) {
      assert.equal(await mode(join(dir, name)), 0o600, name);
    }
    assert.equal(await mode(dir), 0o700);
    assert.match(await readFile(rig.server.tokenFile, "utf8"), /^[\w-]{43}\n$/);
  });

  it("keeps everything over a restart", async () => {
    await using folder = await temporaryFolder();
    const lib = sample("lib");
    const app = sample("app", { references: [lib.storePath] });
    const hidden = sample("hidden", { references: [sample("gone").storePath] });
    const state = async (rig: TestServer): Promise<unknown> => ({
      keys: rig.server.publicKeys,
      token: rig.client.token,
      app: await rig.client.narInfo(app.storePath),
      hidden: await rig.client.narInfo(hidden.storePath),
      pins: await (await rig.client.get("/pin")).json(),
      missing: await rig.client.missing(
        [app, lib, hidden].map((each) => hashPartOf(each.storePath)),
      ),
    });
    const run = async (use: (rig: TestServer) => Promise<void>): Promise<unknown> => {
      await using rig = await startTestServer({ dir: folder.path });
      await use(rig);
      return await state(rig);
    };
    const before = await run(async (rig) => {
      for (const each of [app, hidden, lib]) await rig.client.push(each);
      await rig.client.post("/pin", { name: "p", storePath: app.storePath });
      const publicKey = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=";
      assert.equal((await rig.client.post("/key", { publicKey })).status, 200);
    });
    assert.deepEqual(await run(async () => {}), before);
  });

  it("lets nobody else have the folder meanwhile", async () => {
    await using first = await startTestServer();
    await assert.rejects(startTestServer({ dir: first.dir }), {
      code: "FILE_UNUSABLE",
      message: /another server uses it/,
    });
    await first.server.close();
    await using second = await startTestServer({ dir: first.dir });
    assert.ok(second.server.url);
  });

  it("refuses a folder with other people's files, a spoilt one and one of another name", async () => {
    await using folder = await temporaryFolder();
    const dir = join(folder.path, "home");
    await mkdir(dir);
    await writeFile(join(dir, "letter.txt"), "dear");
    const fails = async (message: RegExp, name = "acme"): Promise<void> =>
      assert.rejects(startTestServer({ dir, name }), { code: "FILE_UNUSABLE", message });
    await fails(/has files in it/);
    await writeFile(join(dir, "cache.sqlite"), "surely not a database file ".repeat(100));
    await fails(/not a database/);
    await assert.rejects(startTestServer({ dir: "/dev/null/x" }), { code: "FILE_UNUSABLE" });

    await using rig = await startTestServer();
    await rig.server.close();
    const other = startTestServer({ dir: rig.dir, name: "other" });
    await assert.rejects(other, {
      code: "FILE_UNUSABLE",
      message: /its signing key is named "acme-1"/,
    });
    for (const [text, message] of [
      ["", /is empty/],
      ["acme-1:AAAA", /expected 64 bytes/],
    ] as const) {
      await writeFile(join(rig.dir, "signing-key"), text);
      await assert.rejects(startTestServer({ dir: rig.dir }), { code: "FILE_UNUSABLE", message });
    }
  });

  it("refuses the folder of a later version", async () => {
    await using rig = await startTestServer();
    await rig.server.close();
    const db = new DatabaseSync(join(rig.dir, "cache.sqlite"));
    db.exec("PRAGMA user_version = 99");
    db.close();
    await assert.rejects(startTestServer({ dir: rig.dir }), {
      message: /expected schema 1, found 99/,
    });
  });

  it("refuses names and addresses that are none, and frees the folder", async () => {
    await using folder = await temporaryFolder();
    const dir = folder.path;
    for (const name of ["", ".", "..", "a/b", "a b", "a:b", "x".repeat(65)]) {
      await assert.rejects(startTestServer({ dir, name }), { code: "USAGE" });
    }
    await using rig = await startTestServer();
    const port = Number(new URL(rig.server.url).port);
    for (const address of [{ port }, { port: 70_000 }, { host: "192.0.2.1" }]) {
      await assert.rejects(startTestServer({ dir, ...address }), { code: "LISTEN_FAILED" });
    }
    await using second = await startTestServer({ dir });
    assert.ok(second.server.url);
  });

  it("makes nothing where it cannot listen, and frees the address where it cannot make", async () => {
    await using rig = await startTestServer();
    const port = Number(new URL(rig.server.url).port);
    await using folder = await temporaryFolder();
    const dir = join(folder.path, "new/cache");
    await assert.rejects(startTestServer({ dir, port }), {
      code: "LISTEN_FAILED",
      message: new RegExp(`:${port}: another program listens there$`),
    });
    assert.deepEqual(await readdir(folder.path), []);
    await rig.server.close();
    await writeFile(join(folder.path, "letter.txt"), "dear");
    const failed = startTestServer({ dir: folder.path, port });
    await assert.rejects(failed, { code: "FILE_UNUSABLE" });
    await using second = await startTestServer({ dir, port });
    assert.equal(second.server.url, rig.server.url);
  });

  it("gives clients the name they used when it listens on all addresses", async () => {
    await using rig = await startTestServer({ host: "0.0.0.0" });
    const { port } = new URL(rig.server.url);
    assert.equal(rig.server.url, `http://127.0.0.1:${port}`);
    const info = await fetch(`http://localhost:${port}/api/v1/cache/acme`);
    const { uri } = (await info.json()) as { uri: string };
    assert.equal(uri, `http://localhost:${port}`);
    await rig.client.push(sample("x"));
  });
});

describe("close()", () => {
  it("waits for running requests and takes no more", async () => {
    const { wrap, entered, release } = gate();
    await using rig = await startTestServer({}, { wrap });
    const { url } = rig.server;
    const slow = fetch(`${url}/slow`);
    await entered;
    const closing = rig.server.close();
    await assert.rejects(fetch(`${url}/nix-cache-info`, { headers: { connection: "close" } }));
    release();
    assert.equal(await (await slow).text(), "late");
    await closing;
    await rig.server.close();
  });

  it("does not wait for connections that were never used or are kept for more", async () => {
    await using rig = await startTestServer();
    const port = Number(new URL(rig.server.url).port);
    const unused = connect(port, "127.0.0.1");
    const kept = connect(port, "127.0.0.1");
    kept.write("GET /x HTTP/1.1\r\nHost: x\r\n\r\nGET");
    await once(kept, "data");
    const closed = [unused, kept].map((socket) => once(socket.resume(), "close"));
    const start = performance.now();
    await rig.server.close();
    await Promise.all(closed);
    assert.ok(performance.now() - start < 5_000);
  });

  it("cuts requests that run longer than the grace", async () => {
    const { wrap, entered, release } = gate();
    await using rig = await startTestServer({}, { wrap, limits: { graceMs: 50 } });
    const slow = fetch(`${rig.server.url}/slow`);
    const cut = assert.rejects(slow);
    await entered;
    const closing = rig.server.close();
    await cut;
    release();
    await closing;
  });

  it("cuts an upload that stands still, and what it wrote is gone", async () => {
    await using rig = await startTestServer({}, { limits: { graceMs: 50 } });
    const bytes = Buffer.from("half of it");
    const started = await rig.client.begin();
    const url = await rig.client.partUrl(started, 1, md5Of(bytes));
    const headers = { "content-md5": md5Of(bytes), "content-length": "1000" };
    const put = request(url, { method: "PUT", headers });
    put.on("error", () => {});
    put.write(bytes);
    await once(put, "socket");
    const closed = new Promise((resolve) => put.once("close", resolve));
    await rig.client.get("");
    await rig.server.close();
    await closed;
    await using again = await startTestServer({ dir: rig.dir });
    assert.ok(again.server.url);
  });
});

describe("a slow client", () => {
  async function send(rig: TestServer, text: string): Promise<string> {
    const socket = connect(Number(new URL(rig.server.url).port), "127.0.0.1");
    socket.write(text);
    let received = "";
    for await (const chunk of socket) received += String(chunk);
    return received;
  }
  const head =
    "POST /api/v1/cache/acme/narinfo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n";

  it("is cut when its headers do not come", async () => {
    await using rig = await startTestServer({}, { limits: { headersMs: 100 } });
    assert.match(await send(rig, head), /^(HTTP\/1.1 408 |$)/);
  });

  it("locks nobody out for longer than five seconds, however many there are", async () => {
    await using rig = await startTestServer();
    const port = Number(new URL(rig.server.url).port);
    const startMs = performance.now();
    const sockets = Array.from({ length: 512 }, () => connect(port, "127.0.0.1"));
    const cut = sockets.map(async (socket) => {
      socket.on("error", () => undefined).resume();
      socket.write("GET / HTTP/1.1\r\nHost: loc");
      await new Promise((resolve) => socket.once("close", resolve));
    });
    await Promise.all(cut);
    assert.ok(performance.now() - startMs < 9_000);
    assert.equal((await fetch(`${rig.server.url}/nix-cache-info`)).status, 200);
  });

  it("is cut when its body stops", async () => {
    await using rig = await startTestServer({}, { limits: { idleMs: 100 } });
    assert.equal(await send(rig, `${head}\r\n[`), "");
  });

  it("gets 408 and is cut when its JSON does not come in time", async () => {
    for (const hooks of [{ jsonTimeoutMs: 100 }, { bodyIdleMs: 100 }]) {
      await using rig = await startTestServer({}, hooks);
      assert.match(await send(rig, `${head}\r\n[`), /^HTTP\/1.1 408 [^]*^connection: close\r$/im);
    }
  });

  it("gets 408 when its part stops, and leaves nothing of it", async () => {
    await using rig = await startTestServer({}, { bodyIdleMs: 100 });
    const started = await rig.client.begin();
    const md5 = md5Of(Buffer.from("half"));
    const url = new URL(await rig.client.partUrl(started, 1, md5));
    const put = `PUT ${url.pathname}${url.search} HTTP/1.1\r\nHost: localhost\r\nContent-MD5: ${md5}\r\n`;
    const answer = await send(rig, `${put}Content-Length: 4\r\n\r\nha`);
    assert.match(answer, /^HTTP\/1.1 408 [^]*^connection: close\r$/im);
    assert.deepEqual(await readdir(join(rig.dir, "tmp")), []);
  });

  it("locks nobody out by half of a body, however many there are", async () => {
    await using rig = await startTestServer({}, { bodyIdleMs: 200 });
    const startMs = performance.now();
    const answers = await Promise.all(Array.from({ length: 512 }, () => send(rig, `${head}\r\n[`)));
    assert.ok(performance.now() - startMs < 9_000);
    assert.deepEqual(new Set(answers.map((text) => text.slice(0, 13))), new Set(["HTTP/1.1 408 "]));
    assert.equal((await fetch(`${rig.server.url}/nix-cache-info`)).status, 200);
  });

  it("is not what a client is that waits for a slow answer", async () => {
    const { wrap, entered, release } = gate();
    await using rig = await startTestServer({}, { wrap, limits: { idleMs: 50 } });
    const slow = fetch(`${rig.server.url}/slow`);
    await entered;
    assert.equal(await send(rig, `${head}\r\n[`), "");
    release();
    assert.equal(await (await slow).text(), "late");
  });
});

describe("a client that goes away", () => {
  it("in a download or an upload leaves the server well", async () => {
    await using rig = await startTestServer();
    const contents = Buffer.from(Array.from({ length: 3_000_000 }, (_, i) => (i * i * 31) >> 3));
    const pushed = sample("big", { contents });
    await rig.client.push(pushed);
    const url = `${rig.server.url}/nar/${String(pushed.narInfoCreate["cFileHash"])}.nar.zst`;
    const controller = new AbortController();
    const response = await fetch(url, { signal: controller.signal });
    await response.body?.getReader().read();
    controller.abort();

    const started = await rig.client.begin();
    const partUrl = await rig.client.partUrl(started, 1, md5Of(contents));
    const headers = { "content-md5": md5Of(contents), "content-length": String(contents.length) };
    const put = request(partUrl, { method: "PUT", headers });
    put.on("error", () => {});
    await new Promise((resolve) => put.write(contents.subarray(0, 100_000), resolve));
    put.destroy();
    const part = await rig.client.putPart(started, 1, pushed.file);
    assert.equal((await rig.client.complete(started, [part], pushed.narInfoCreate)).status, 200);
    assert.ok(!rig.lines.some((line) => line.startsWith("Cannot answer")), rig.lines.join("\n"));
  });
});

describe("the hourly sweep", () => {
  it("gives up uploads of which nothing was heard for a day", async () => {
    mock.timers.enable({ apis: ["setInterval"] });
    after(() => mock.timers.reset());
    let nowMs = 1_800_000_000_000;
    await using rig = await startTestServer({}, { now: () => nowMs });
    const { started } = await rig.client.upload(sample("forgotten"));
    mock.timers.tick(60 * 60 * 1000);
    assert.equal((await readdir(join(rig.dir, "parts"))).length, 1);
    nowMs += 24 * 60 * 60 * 1000 + 1;
    mock.timers.tick(60 * 60 * 1000);
    assert.equal((await rig.client.abort(started)).status, 404);
    await rig.server.close();
    assert.deepEqual(await readdir(join(rig.dir, "parts")), []);
  });
});

describe("a failing disk", () => {
  it("is answered with 500 and logged, without details for the client", async () => {
    await using rig = await startTestServer();
    const { started, parts } = await rig.client.upload(sample("x"));
    await rm(join(rig.dir, "tmp"), { recursive: true });
    const response = await rig.client.complete(started, parts, sample("x").narInfoCreate);
    assert.equal(response.status, 500);
    assert.equal(await response.text(), "The server failed");
    assert.ok(rig.lines.some((line) => line.startsWith("Cannot answer: ENOENT")));
    await mkdir(join(rig.dir, "tmp"));
    const again = await rig.client.complete(started, parts, sample("x").narInfoCreate);
    assert.equal(again.status, 200);
  });
});

describe("nixConfLines()", () => {
  const server = {
    url: "http://127.0.0.1:8080",
    publicKeys: ["acme-1:AAAA", "acme-2:BBBB"],
    tokenFile: "/srv/cache/token",
    isPrivate: false,
  };

  it("names the cache and all its keys", () => {
    assert.deepEqual(nixConfLines(server), [
      "extra-substituters = http://127.0.0.1:8080",
      "extra-trusted-public-keys = acme-1:AAAA acme-2:BBBB",
    ]);
  });

  it("tells how to write the netrc file of a private cache", () => {
    const lines = nixConfLines(
      { ...server, url: "http://[::1]:8080", isPrivate: true },
      "/x/netrc",
    );
    assert.deepEqual(lines.slice(2), [
      "netrc-file = /x/netrc",
      "# that file needs the line: machine ::1 password TOKEN",
      "# where TOKEN is the content of /srv/cache/token",
    ]);
  });
});
