import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";

import { bodyOf, serve, serveRaw, trackSockets } from "../../test/http-rig.ts";
import type { HttpRig } from "../../test/http-rig.ts";
import { HandpickError } from "../error.ts";
import { createHttpClient } from "./http-client.ts";
import { DEFAULT_TIMEOUTS, FOREIGN_HINT } from "./http-message.ts";
import type { HttpRequest, HttpResponse, OnSuccess, StreamedResponse } from "./http-message.ts";

const size = 5_000_000;
const whole = Buffer.alloc(size, "handpick");

/** Gets `path`, and reads a success with `onSuccess`. */
function stream(
  rig: HttpRig,
  onSuccess: OnSuccess,
  more: Partial<HttpRequest> = {},
): Promise<HttpResponse> {
  const { signal } = new AbortController();
  const request = { action: "read it", method: "GET", url: rig.url, maxBytes: size } as const;
  return rig.client.request({ ...request, signal, ...more }, onSuccess);
}

async function readAll({ body }: StreamedResponse): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of body) pieces.push(piece);
  return Buffer.concat(pieces);
}

const unread: OnSuccess = () => assert.fail("it was given as a success");

/** Reads a success with `read`, which fails, and returns the error that it failed with. */
async function failureOf(pending: (onSuccess: OnSuccess) => Promise<unknown>): Promise<unknown> {
  let seen: unknown;
  const failed: unknown = await pending(async (response) => {
    try {
      await readAll(response);
    } catch (error) {
      seen = error;
      throw error;
    }
  }).catch((error: unknown) => error);
  assert.equal(seen, failed);
  return failed;
}

describe("HttpClient.request() with onSuccess", () => {
  it("gives status, headers and the body, and uses the connection again", async () => {
    const ports = new Set<number | undefined>();
    await using rig = await serve((incoming, response) => {
      ports.add(incoming.socket.remotePort);
      response.writeHead(206, { "x-range": incoming.headers.range }).end(whole);
    });
    const { signal } = new AbortController();
    for (let count = 0; count < 3; count++) {
      let bytes: Buffer | undefined;
      const read: OnSuccess = async (response) => {
        assert.deepEqual([response.status, response.action], [206, "read it"]);
        assert.equal(response.headers["x-range"], "bytes=0-");
        bytes = await readAll(response);
      };
      const response = await stream(rig, read, { signal, headers: { range: "bytes=0-" } });
      assert.ok(bytes?.equals(whole));
      assert.deepEqual([response.status, response.body.length], [206, 0]);
      assert.equal(response.headers["x-range"], "bytes=0-");
    }
    assert.equal(ports.size, 1);
    assert.equal(getEventListeners(signal, "abort").length, 0);
  });

  it("returns what is no success as text, of 1 MiB at most", async () => {
    await using rig = await serve((incoming, response) => {
      response.writeHead(Number(incoming.url?.slice(1)));
      response.end(incoming.url === "/500" ? whole : "no");
    });
    for (const status of [404, 304, 301]) {
      const response = await stream(rig, unread, { url: new URL(`/${status}`, rig.url) });
      assert.deepEqual(
        [response.status, response.body.toString()],
        [status, status === 304 ? "" : "no"],
      );
    }
    await assert.rejects(stream(rig, unread, { url: new URL("/500", rig.url) }), {
      code: "CACHE_PROTOCOL",
      message: /expected at most 1048576 bytes/,
    });
  });

  it("follows redirects", async () => {
    await using rig = await serve((incoming, response) => {
      if (incoming.url === "/") response.writeHead(302, { location: "/there" });
      response.end(incoming.url);
    });
    let text = "";
    await stream(rig, async (response) => void (text = (await readAll(response)).toString()));
    assert.equal(text, "/there");
  });

  it("refuses more bytes than its bound", async () => {
    await using rig = await serve((_incoming, response) => void response.end(whole));
    const read = (onSuccess: OnSuccess): Promise<HttpResponse> =>
      stream(rig, onSuccess, { maxBytes: size - 1 });
    const error = await failureOf(read);
    assert.ok(error instanceof HandpickError);
    assert.equal(error.code, "CACHE_PROTOCOL");
    assert.match(error.message, /at most 4999999 bytes from 127\.0\.0\.1:\d+, received more$/);
    assert.equal(error.hint, FOREIGN_HINT);
  });

  it("gives a body that can be sent to another server at once", async () => {
    await using from = await serve((_incoming, response) => void response.end(whole));
    await using to = await serve(async (incoming, response) => {
      response.end(String((await bodyOf(incoming)).equals(whole)));
    });
    let stored = "";
    await stream(from, async ({ headers, body }) => {
      const sizeBytes = Number(headers["content-length"]);
      const source = { sizeBytes, open: () => body };
      stored = (await to.get("/", { method: "PUT", body: source })).body.toString();
    });
    assert.equal(stored, "true");
  });

  it("goes through a proxy", async () => {
    await using proxy = await serve((incoming, response) => void response.end(incoming.url));
    const client = createHttpClient({ env: { http_proxy: proxy.url.href } });
    const { signal } = new AbortController();
    const url = new URL("http://cache.example/x");
    let text = "";
    await client.request({ action: "read it", method: "GET", url, signal }, async (response) => {
      text = (await readAll(response)).toString();
    });
    assert.equal(text, url.href);
    client.close();
  });
});

describe("HttpClient.request() with onSuccess and a peer that fails", () => {
  it("reports an answer that is cut, with content-length and in chunks", async () => {
    for (const head of [
      "content-length: 9\r\n\r\nab",
      "transfer-encoding: chunked\r\n\r\n2\r\nab\r\n",
    ]) {
      await using rig = await serveRaw((socket) => socket.end(`HTTP/1.1 200 OK\r\n${head}`));
      const error = await failureOf((onSuccess) => stream(rig, onSuccess));
      assert.ok(error instanceof HandpickError);
      assert.equal(error.code, "NETWORK");
      assert.match(error.message, /but the connection was cut$/);
    }
  });

  it("reports one that is cut while nobody waits for it", async () => {
    await using rig = await serveRaw((socket) => {
      socket.write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab");
      setTimeout(() => socket.resetAndDestroy(), 50);
    });
    for (const isBegun of [true, false]) {
      const late: OnSuccess = async ({ body }) => {
        if (!isBegun) await delay(150);
        for await (const _piece of body) await delay(150);
      };
      await assert.rejects(stream(rig, late), { code: "NETWORK", message: /was cut$/ });
    }
  });

  it("gives up on one that makes no progress", async () => {
    const timeouts = { ...DEFAULT_TIMEOUTS, idleMs: 500 };
    await using rig = await serve((_incoming, response) => void response.write("half"), {
      timeouts,
    });
    const error = await failureOf((onSuccess) => stream(rig, onSuccess));
    assert.ok(error instanceof HandpickError);
    assert.equal(error.code, "NETWORK");
    assert.match(error.message, /but the answer made no progress within 0\.5 s$/);
  });

  it("gives up on one that trickles, by progress and in all", async () => {
    for (const [more, message] of [
      [{ idleMs: 500 }, /but the answer made no progress within 0\.5 s$/],
      [{ totalMs: 500 }, /but the request was not over within 0\.5 s$/],
    ] as const) {
      await using rig = await serve(
        (_incoming, response) => {
          const trickle = setInterval(() => response.write("x"), 5);
          response.on("close", () => clearInterval(trickle));
        },
        { timeouts: { ...DEFAULT_TIMEOUTS, ...more } },
      );
      const error = await failureOf((onSuccess) => stream(rig, onSuccess));
      assert.ok(error instanceof HandpickError);
      assert.match(error.message, message);
    }
  });
});

describe("HttpClient.request() with onSuccess and its reader", () => {
  it("waits for a slow one without end, and takes no more than it reads", async () => {
    let written = 0;
    const timeouts = { ...DEFAULT_TIMEOUTS, idleMs: 500, totalMs: 500 };
    await using rig = await serve(
      (_incoming, response) => {
        const more = (): void => {
          if ((written += 65_536) > 100_000_000) response.end();
          else response.write(Buffer.alloc(65_536), (error) => error ?? more());
        };
        more();
      },
      { timeouts },
    );
    const slow: OnSuccess = async ({ body }) => {
      let count = 0;
      await delay(700);
      for await (const _piece of body) {
        await delay(700);
        if (++count === 3) break;
      }
    };
    const response = await stream(rig, slow);
    assert.equal(response.status, 200);
    assert.ok(written < 20_000_000, `${written} bytes`); // what the buffers of the system hold
  });

  it("closes the connection where it stops before the end, and gives its place to others", async () => {
    using sockets = trackSockets();
    await using rig = await serve((_incoming, response) => void response.end(whole));
    const readers: readonly OnSuccess[] = [
      async ({ body }) => {
        for await (const _piece of body) break;
      },
      async () => undefined,
      async () => delay(5),
    ];
    // More than may be under way to a host at once.
    for (let count = 0; count < 70; count++) {
      const reader = readers[count % readers.length] ?? assert.fail();
      assert.equal((await stream(rig, reader)).status, 200);
      assert.equal(sockets.open.size, 0);
    }
  });

  it("fails with its error as it is, whether it ends early or late", async () => {
    await using rig = await serve((_incoming, response) => void response.end(whole));
    const mistake = new Error("the disk is full");
    const fail = (): never => {
      throw mistake;
    };
    const readers: readonly OnSuccess[] = [
      fail,
      async ({ body }) => {
        for await (const _piece of body) fail();
      },
      async (response) => void ((await readAll(response)) && fail()),
    ];
    for (const reader of readers) await assert.rejects(stream(rig, reader), mistake);
  });

  it("holds its place until it has ended", { timeout: 30_000 }, async () => {
    await using rig = await serve((incoming, response) => {
      response.end(incoming.url === "/next" ? "next" : whole);
    });
    const gate = Promise.withResolvers<void>();
    const { promise: allBegun, resolve } = Promise.withResolvers<void>();
    let begun = 0;
    const held = Array.from({ length: 64 }, () =>
      stream(rig, async () => {
        if (++begun === 64) resolve();
        await gate.promise;
      }),
    );
    await allBegun;
    let isAnswered = false;
    const next = rig.get("/next").then(() => (isAnswered = true));
    await delay(100);
    assert.equal(isAnswered, false);
    gate.resolve();
    await Promise.all([...held, next]);
  });
});

describe("HttpClient.request() with onSuccess and a signal", () => {
  const reason = new Error("stop");

  it("rejects with its reason while a piece is awaited", async () => {
    const stop = new AbortController();
    const { signal } = stop;
    await using rig = await serve((_incoming, response) => void response.write("half"));
    const read = (onSuccess: OnSuccess): Promise<HttpResponse> => {
      const reader: OnSuccess = (response) => {
        setTimeout(() => stop.abort(reason), 100);
        return onSuccess(response);
      };
      return stream(rig, reader, { signal });
    };
    assert.equal(await failureOf(read), reason);
  });

  it("rejects when its reader has ended, within the body and after it", async () => {
    using sockets = trackSockets();
    await using rig = await serve((_incoming, response) => void response.end(whole));
    for (const isWhole of [true, false]) {
      const stop = new AbortController();
      const { signal } = stop;
      let hasEnded = false;
      const reader: OnSuccess = async (response) => {
        if (isWhole) await readAll(response);
        stop.abort(reason);
        await delay(50);
        hasEnded = true;
      };
      await assert.rejects(stream(rig, reader, { signal }), reason);
      assert.equal(hasEnded, true);
      // A connection that was read to its end serves others.
      assert.equal(sockets.open.size, isWhole ? 1 : 0);
    }
  });
});
