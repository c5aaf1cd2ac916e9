import assert from "node:assert/strict";
import { getEventListeners, once } from "node:events";
import { mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { IncomingMessage, RequestListener } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";

import { TLS_CERTIFICATE, TLS_KEY } from "../../test/fakes/tls.ts";
import { bodyOf, rigFor, serve, serveRaw, trackSockets } from "../../test/http-rig.ts";
import { HandpickError } from "../error.ts";
import { createHttpClient, type HttpClientOptions } from "./http-client.ts";
import { DEFAULT_TIMEOUTS, FOREIGN_HINT } from "./http-message.ts";
import type { HttpResponse, Timeouts } from "./http-message.ts";

describe("createHttpClient()", () => {
  it("sends method, headers and body as given and returns any status", async () => {
    const seen = Promise.withResolvers<[IncomingMessage, Buffer]>();
    await using rig = await serve(async (incoming, response) => {
      seen.resolve([incoming, await bodyOf(incoming)]);
      response.writeHead(418, { "x-answer": "yes" }).end("short and stout");
    });
    const body = new TextEncoder().encode("hello");
    const headers = { "x-question": "why" };
    const response = await rig.get("/a?b=c", { method: "POST", headers, body });
    const [request, received] = await seen.promise;
    assert.equal(request.method, "POST");
    assert.equal(request.url, "/a?b=c");
    assert.equal(request.headers["x-question"], "why");
    assert.equal(request.headers["user-agent"], "handpick/dev");
    assert.equal(request.headers["content-length"], "5");
    assert.equal(request.headers["transfer-encoding"], undefined);
    assert.equal(received.toString(), "hello");
    assert.equal(response.status, 418);
    assert.equal(response.headers["x-answer"], "yes");
    assert.equal(response.body.toString(), "short and stout");
  });

  it("announces a length of 0 for a POST without body and none for a GET", async () => {
    const lengths: (string | undefined)[] = [];
    await using rig = await serve((incoming, response) => {
      lengths.push(incoming.headers["content-length"]);
      response.end();
    });
    await rig.get("/", { method: "POST" });
    await rig.get("/");
    assert.deepEqual(lengths, ["0", undefined]);
  });

  it("sends a body of several megabytes whole, from a view into a larger buffer", async () => {
    await using rig = await serve(async (incoming, response) => {
      response.end((await bodyOf(incoming)).toString("hex", 0, 4));
      assert.equal(incoming.headers["content-length"], "3000001");
    });
    const memory = new Uint8Array(4_000_000);
    memory.set([1, 2, 3, 4], 7);
    const response = await rig.get("/", { method: "PUT", body: memory.subarray(7, 3_000_008) });
    assert.equal(response.body.toString(), "01020304");
  });

  it("uses one connection for requests in a row and leaves nothing on it", async () => {
    using sockets = trackSockets();
    const ports = new Set<number | undefined>();
    await using rig = await serve((incoming, response) => {
      ports.add(incoming.socket.remotePort);
      response.end("x");
    });
    const { signal } = new AbortController();
    await rig.get("/", { method: "POST", signal });
    const [socket] = sockets.open;
    const listeners = socket?.listenerCount("close");
    for (let count = 0; count < 5; count++) await rig.get("/", { method: "POST", signal });
    assert.equal(ports.size, 1);
    assert.equal(socket?.listenerCount("close"), listeners);
    assert.equal(getEventListeners(signal, "abort").length, 0);
  });
});

describe("createHttpClient() with a server that fails", () => {
  it("reports a refused connection by host and port, without the rest of the URL", async () => {
    const closed = await serve(() => undefined);
    const { port } = closed.url;
    await closed[Symbol.asyncDispose]();
    const client = createHttpClient({ env: {} });
    const url = new URL(`http://127.0.0.1:${port}/secret-path?X-Amz-Signature=secret`);
    const { signal } = new AbortController();
    await assert.rejects(client.request({ action: "read it", method: "GET", url, signal }), {
      code: "NETWORK",
      message: `Cannot read it: expected an answer from 127.0.0.1:${port}, but the connection was refused`,
    });
  });

  it("reports a host name that does not resolve", async () => {
    await using rig = await serve(() => undefined);
    const url = new URL("http://nobody.invalid/");
    await assert.rejects(rig.get("/", { url }), { code: "NETWORK", message: /does not resolve/ });
  });

  const cut = { code: "NETWORK", message: /the connection was cut/ };

  it("reports a connection that is cut before, within and after the head", async () => {
    const heads = [
      "",
      "HTTP/1.1 200 OK\r\nconte",
      "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab",
    ];
    for (const head of heads) {
      await using rig = await serveRaw((socket) => socket.end(head));
      await assert.rejects(rig.get("/"), cut, JSON.stringify(head));
    }
  });

  it("reports a chunked answer without its end", async () => {
    const head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n";
    await using rig = await serveRaw((socket) => socket.end(head));
    await assert.rejects(rig.get("/"), cut);
  });

  it("reports a server that does not speak HTTP", async () => {
    await using rig = await serveRaw((socket) => socket.end("SSH-2.0-OpenSSH_9.9\r\n"));
    await assert.rejects(rig.get("/"), { code: "NETWORK", message: /does not speak HTTP/ });
  });

  it("reports a switch of protocols that nobody asked for", async () => {
    const head = "HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
    await using rig = await serveRaw((socket) => socket.write(head));
    await assert.rejects(rig.get("/"), { code: "NETWORK" });
  });

  it("reports a cut in the middle of a large body", async () => {
    await using rig = await serve((incoming) => {
      incoming.once("data", () => incoming.destroy());
    });
    const body = new Uint8Array(8_000_000);
    await assert.rejects(rig.get("/", { method: "PUT", body }), cut);
  });

  it("refuses an answer above its bound", async () => {
    await using rig = await serve((_incoming, response) => void response.end("x".repeat(101)));
    assert.equal((await rig.get("/", { maxBytes: 101 })).body.length, 101);
    await assert.rejects(rig.get("/", { maxBytes: 100 }), {
      code: "CACHE_PROTOCOL",
      message: /at most 100 bytes from 127\.0\.0\.1:\d+, received more$/,
      hint: FOREIGN_HINT,
    });
  });

  it("takes no more memory for an answer in single bytes than for one in pieces", async () => {
    const size = 500_000;
    const text = "ab".repeat(size / 2);
    const chunks = text.replaceAll(/./g, "1\r\n$&\r\n");
    await using rig = await serveRaw((socket) => {
      socket.end(`HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${chunks}0\r\n\r\n`);
    });
    const { rss } = process.memoryUsage();
    const response = await rig.get("/");
    assert.ok(response.body.equals(Buffer.from(text)));
    const grownBy = process.memoryUsage().rss - rss;
    assert.ok(grownBy < 100 * 1024 * 1024, `${grownBy} bytes`);
  });

  it("cuts an answer without end at its bound", async () => {
    await using rig = await serve((_incoming, response) => {
      const more = (): void => void response.write("x".repeat(50_000), (error) => error ?? more());
      more();
    });
    await assert.rejects(rig.get("/", { maxBytes: 200_000 }), { code: "CACHE_PROTOCOL" });
  });
});

/** Long enough for a busy machine to connect in, short enough to wait for. */
const PATIENT: Timeouts = { ...DEFAULT_TIMEOUTS, idleMs: 500 };

describe("createHttpClient() with a slow server", () => {
  it("gives up when no answer comes", async () => {
    await using rig = await serve(() => undefined, {
      timeouts: { ...DEFAULT_TIMEOUTS, answerMs: 40 },
    });
    await assert.rejects(rig.get("/"), {
      code: "NETWORK",
      message: /but no answer came within 0\.04 s$/,
    });
  });

  it("waits longer for the answer to a large body, which a proxy in between may have yet to send on", async () => {
    await using rig = await serve(
      (incoming, response) => {
        incoming.resume().once("end", () => setTimeout(() => response.end(), 400));
      },
      { timeouts: { ...DEFAULT_TIMEOUTS, answerMs: 40 } },
    );
    const put = { method: "PUT", body: new Uint8Array(3 << 20) } as const;
    assert.equal((await rig.get("/", put)).status, 200);
    const small = { method: "PUT", body: new Uint8Array(1000) } as const;
    await assert.rejects(rig.get("/", small), { code: "NETWORK" });
  });

  it("gives up when the answer stops in the middle", async () => {
    await using rig = await serve((_incoming, response) => void response.write("half"), {
      timeouts: PATIENT,
    });
    await assert.rejects(rig.get("/"), {
      code: "NETWORK",
      message: /but the answer made no progress within 0\.5 s$/,
    });
  });

  it("gives up when the server stops to read", async () => {
    await using rig = await serveRaw((socket) => socket.pause(), { timeouts: PATIENT });
    const body = new Uint8Array(32_000_000);
    await assert.rejects(rig.get("/", { method: "PUT", body }), {
      code: "NETWORK",
      message: /but no progress was made within 0\.5 s$/,
    });
  });

  it("takes single bytes for no progress, and 16 KiB for some", async () => {
    const timeouts = { ...DEFAULT_TIMEOUTS, idleMs: 600 };
    const trickle = async (size: number): Promise<string> => {
      await using rig = await serve(
        (_incoming, response) => {
          const step = setInterval(() => response.write("x".repeat(size)), 40);
          const end = setTimeout(() => response.end("."), 1_300);
          response.on("close", () => (clearInterval(step), clearTimeout(end)));
        },
        { timeouts },
      );
      return (await rig.get("/")).body.toString().slice(-1);
    };
    await assert.rejects(trickle(1), {
      code: "NETWORK",
      message: /but the answer made no progress within 0\.6 s$/,
    });
    assert.equal(await trickle(16_384), ".");
  });

  it("gives up on an answer that trickles without end", async () => {
    const timeouts = { ...DEFAULT_TIMEOUTS, totalMs: 60 };
    await using rig = await serve(
      (_incoming, response) => {
        const trickle = setInterval(() => response.write("x"), 5);
        response.on("close", () => clearInterval(trickle));
      },
      { timeouts },
    );
    await assert.rejects(rig.get("/"), {
      code: "NETWORK",
      message: /but the request was not over within 0\.06 s$/,
    });
  });
});

describe("createHttpClient() with a large body", () => {
  const timeouts = { ...DEFAULT_TIMEOUTS, totalMs: 500 };
  const size = 200_000;

  it("gives more time in all to what is sent", async () => {
    await using rig = await serve(
      async (incoming, response) => {
        await bodyOf(incoming);
        setTimeout(() => response.end("stored"), 800);
      },
      { timeouts },
    );
    const body = new Uint8Array(size);
    await assert.rejects(rig.get("/", { method: "PUT" }), {
      code: "NETWORK",
      message: /but the request was not over within 0\.5 s$/,
    });
    assert.equal((await rig.get("/", { method: "PUT", body })).body.toString(), "stored");
  });

  it("gives more time in all to what is received, and ends what trickles then", async () => {
    await using rig = await serve(
      (incoming, response) => {
        response.write("x".repeat(16_384));
        const trickle = setInterval(() => response.write("x"), 5);
        const end = setTimeout(() => incoming.url === "/end" && response.end("."), 800);
        response.on("close", () => (clearInterval(trickle), clearTimeout(end)));
      },
      { timeouts },
    );
    assert.equal((await rig.get("/end")).body.toString().slice(-1), ".");
    await assert.rejects(rig.get("/"), {
      code: "NETWORK",
      message: /but the request was not over within 1\.5 s$/,
    });
  });
});

describe("createHttpClient() with a signal", () => {
  it("rejects with its reason while an answer is awaited", async () => {
    const arrived = Promise.withResolvers<void>();
    await using rig = await serve(() => arrived.resolve());
    const stop = new AbortController();
    const pending = rig.get("/", { signal: stop.signal });
    await arrived.promise;
    const reason = new Error("stop");
    stop.abort(reason);
    await assert.rejects(pending, reason);
  });

  it("rejects with its reason while a body arrives", async () => {
    await using rig = await serve((_incoming, response) => void response.write("half"));
    const stop = new AbortController();
    const pending = rig.get("/", { signal: stop.signal });
    const reason = new Error("stop");
    setImmediate(() => stop.abort(reason));
    await assert.rejects(pending, reason);
  });

  it("rejects at once while a proxy keeps us waiting for a tunnel", async () => {
    const arrived = Promise.withResolvers<void>();
    const proxy = createServer();
    proxy.on("connect", () => arrived.resolve());
    await using rig = await rigFor(proxy);
    const env = { https_proxy: rig.url.href };
    const client = createHttpClient({ env });
    const stop = new AbortController();
    const url = new URL("https://cache.invalid/");
    const { signal } = stop;
    const pending = client.request({ action: "read it", method: "GET", url, signal });
    await arrived.promise;
    const reason = new Error("stop");
    stop.abort(reason);
    await assert.rejects(pending, reason);
    client.close();
  });

  it("does not settle before nothing reads the body any more", async () => {
    using sockets = trackSockets();
    const arrived = Promise.withResolvers<void>();
    await using rig = await serve((incoming) => {
      incoming.pause();
      arrived.resolve();
    });
    const stop = new AbortController();
    const body = new Uint8Array(32_000_000);
    const pending = rig.get("/", { method: "PUT", body, signal: stop.signal });
    await arrived.promise;
    stop.abort(new Error("stop"));
    await assert.rejects(pending);
    assert.equal(sockets.open.size, 0);
  });

  it("returns an answer that comes before the body is sent, and leaves the body", async () => {
    using sockets = trackSockets();
    await using rig = await serveRaw((socket) => {
      socket.pause();
      socket.write("HTTP/1.1 403 No\r\ncontent-length: 2\r\n\r\nno");
    });
    const body = new Uint8Array(32_000_000);
    const response = await rig.get("/", { method: "PUT", body });
    assert.equal(response.status, 403);
    assert.equal(sockets.open.size, 0);
  });
});

describe("createHttpClient() with many requests", () => {
  /** Sends 200 requests by each client; returns how many the server had at once. */
  async function mostAtOnce(
    clients: number,
    expected: number,
    options: HttpClientOptions = {},
  ): Promise<number> {
    const held: (() => void)[] = [];
    let busy = 0;
    let most = 0;
    await using rig = await serve((_incoming, response) => {
      busy += 1;
      most = Math.max(most, busy);
      held.push(() => {
        busy -= 1;
        response.end();
      });
      // Once that many came, those that waited come as well.
      if (most >= expected) for (const answer of held.splice(0)) setImmediate(answer);
    });
    const all = Array.from({ length: clients }, () => createHttpClient({ env: {}, ...options }));
    const { signal } = new AbortController();
    const request = { action: "read it", method: "GET", url: rig.url, signal } as const;
    await Promise.all(
      all.flatMap((client) => Array.from({ length: 200 }, () => client.request(request))),
    );
    for (const client of all) client.close();
    return most;
  }

  it("has 64 under way to a host, all clients together 192", { timeout: 30_000 }, async () => {
    assert.equal(await mostAtOnce(1, 64), 64);
    assert.equal(await mostAtOnce(4, 192), 192);
  });

  it("has more where a client says so, and leaves others some", { timeout: 30_000 }, async () => {
    assert.equal(await mostAtOnce(1, 90, { requestsAtOnce: 90 }), 90);
    assert.equal(await mostAtOnce(2, 192, { requestsAtOnce: 128 }), 192);
  });
});

describe("createHttpClient() redirected", () => {
  it("follows GET and HEAD to another place of the same origin with credentials", async () => {
    await using rig = await serve((incoming, response) => {
      const { authorization = "" } = incoming.headers;
      if (incoming.url === "/to") return void response.end(authorization.toUpperCase());
      response.writeHead(302, { location: "to" }).end();
    });
    const headers = { authorization: "Bearer secret" };
    assert.equal((await rig.get("/from", { headers })).body.toString(), "BEARER SECRET");
    assert.equal((await rig.get("/from", { method: "HEAD" })).status, 200);
  });

  it("leaves credentials behind at another origin, also on the way back", async () => {
    const seen: (string | undefined)[] = [];
    await using other = await serve((incoming, response) => {
      seen.push(incoming.headers.authorization);
      response.writeHead(307, { location: incoming.url?.slice(1) }).end();
    });
    await using rig = await serve((incoming, response) => {
      seen.push(incoming.headers.authorization);
      if (incoming.url === "/back") return void response.end("there");
      response.writeHead(302, { location: `${other.url.href}${rig.url.href}back` }).end();
    });
    const response = await rig.get("/", { headers: { authorization: "Bearer secret" } });
    assert.equal(response.body.toString(), "there");
    assert.deepEqual(seen, ["Bearer secret", undefined, undefined]);
  });

  it("follows 5 redirects and no more", async () => {
    await using rig = await serve((incoming, response) => {
      const left = Number(incoming.url?.slice(1));
      if (left === 0) return void response.end("there");
      response.writeHead(301, { location: `/${left - 1}` }).end();
    });
    assert.equal((await rig.get("/5")).body.toString(), "there");
    await assert.rejects(rig.get("/6"), {
      code: "CACHE_PROTOCOL",
      message: /received one redirect after another$/,
    });
  });

  it("returns the redirect of a POST or PUT as it is", async () => {
    await using rig = await serve((_incoming, response) => {
      response.writeHead(307, { location: "/to" }).end();
    });
    assert.equal((await rig.get("/", { method: "POST" })).status, 307);
    assert.equal((await rig.get("/", { method: "PUT" })).status, 307);
  });

  it("returns any redirect as it is to a request that follows none", async () => {
    await using rig = await serve((_incoming, response) => {
      response.writeHead(301, { location: "/to" }).end();
    });
    const asked = rig.get("/", { followsRedirects: false });
    assert.deepEqual([(await asked).status, (await asked).headers.location], [301, "/to"]);
  });

  it("returns a redirect to nowhere as it is", async () => {
    for (const location of [undefined, "http://["]) {
      const headers = location === undefined ? {} : { location };
      await using rig = await serve((_incoming, response) => {
        response.writeHead(302, headers).end();
      });
      assert.equal((await rig.get("/")).status, 302);
    }
  });

  it("refuses to leave the web and to send credentials of the server's choice", async () => {
    for (const location of ["file:///etc/passwd", "ftp://h/", "http://user:pw@127.0.0.1/"]) {
      await using rig = await serve((_incoming, response) => {
        response.writeHead(302, { location }).end();
      });
      await assert.rejects(rig.get("/"), { code: "CACHE_PROTOCOL" }, location);
    }
  });
});

describe("createHttpClient() and secrets", () => {
  it("removes our credentials from an error that repeats them", async () => {
    await using rig = await serve((incoming, response) => {
      response.writeHead(401).end(`bad token ${incoming.headers.authorization}, secret`);
    });
    const response = await rig.get("/", { headers: { authorization: "Bearer secret" } });
    assert.equal(response.body.toString(), "bad token Bearer …, …");
  });

  it("removes them from an error that spells them as JSON or in a URL", async () => {
    const secret = 'a/b+"c"=';
    await using rig = await serve((incoming, response) => {
      const found = incoming.headers.authorization?.replace("Bearer ", "") ?? "";
      const told = { token: found, url: `/?token=${encodeURIComponent(found)}` };
      response.writeHead(401).end(JSON.stringify(told));
    });
    const response = await rig.get("/", { headers: { authorization: `Bearer ${secret}` } });
    assert.equal(response.body.toString(), '{"token":"…","url":"/?token=…"}');
  });

  it("removes the password that Basic authentication hides, and leaves its letters in a success", async () => {
    const header = (password: string): string =>
      `Basic ${Buffer.from(`me:${password}`).toString("base64")}`;
    await using rig = await serve((incoming, response) => {
      const found = incoming.headers.authorization?.replace("Basic ", "") ?? "";
      const text = Buffer.from(found, "base64").toString();
      response.writeHead(incoming.url === "/" ? 401 : 200).end(`${text}, not ${found}`);
    });
    const refused = await rig.get("/", { headers: { authorization: header("nix") } });
    assert.equal(refused.body.toString(), "me:…, not …");
    const taken = await rig.get("/x", { headers: { authorization: header("nix") } });
    assert.match(taken.body.toString(), /^me:nix, not /);
  });

  it("does not show the password of a proxy that cannot be used", async () => {
    for (const [http_proxy, found] of [
      ["http://user:secret@[", /http_proxy.*found something else$/],
      ["http://user:secret%zz@127.0.0.1:1", /http_proxy.*found a password with a stray %$/],
    ] as const) {
      const asked = askThrough({ http_proxy }, "http://cache.example/");
      await assert.rejects(asked, (error: unknown) => {
        assert.ok(error instanceof HandpickError);
        assert.equal(error.code, "CONFIG_INVALID");
        assert.match(error.message, found);
        assert.doesNotMatch(error.message, /secret/);
        return true;
      });
    }
  });

  it("removes them from a success too, but not what stands there by chance", async () => {
    await using rig = await serve((incoming, response) => {
      response.end(`you said ${incoming.headers.authorization}`);
    });
    for (const [secret, shown] of [
      ["a-secret-of-16-b", "…"],
      ["x", "x"],
    ]) {
      const response = await rig.get("/", { headers: { authorization: `Bearer ${secret}` } });
      assert.equal(response.body.toString(), `you said Bearer ${shown}`);
    }
  });

  it("is an error of its own class, with the cause", async () => {
    await using rig = await serveRaw((socket) => socket.destroy());
    const error: unknown = await rig.get("/").catch((found: unknown) => found);
    assert.ok(error instanceof HandpickError);
    assert.ok(error.cause instanceof Error);
    assert.match(error.hint ?? "", /Check the network/);
  });
});

/** Sends one request as a program with this environment does. */
async function askThrough(env: NodeJS.ProcessEnv, url: string): Promise<HttpResponse> {
  const client = createHttpClient({ env });
  const { signal } = new AbortController();
  try {
    return await client.request({ action: "read it", method: "GET", url: new URL(url), signal });
  } finally {
    client.close();
  }
}

describe("createHttpClient() with a proxy", () => {
  it("goes through it, written with scheme or without, except where no_proxy says not to", async () => {
    const asked: string[] = [];
    await using proxy = await serve((incoming, response) => {
      asked.push(`${incoming.url} ${incoming.headers["proxy-authorization"]}`);
      response.end("by proxy");
    });
    const { host } = proxy.url;
    for (const env of [
      { http_proxy: proxy.url.href },
      { http_proxy: `u:p%20w@${host}`, no_proxy: "other.example, 10.0.0.0/8" },
      { all_proxy: host },
    ]) {
      const response = await askThrough(env, "http://cache.example/x");
      assert.equal(response.body.toString(), "by proxy");
    }
    const basic = `Basic ${Buffer.from("u:p w").toString("base64")}`;
    assert.deepEqual(asked, [
      "http://cache.example/x undefined",
      `http://cache.example/x ${basic}`,
      "http://cache.example/x undefined",
    ]);
    const direct = askThrough({ http_proxy: host, no_proxy: "invalid" }, "http://cache.invalid/x");
    await assert.rejects(direct, { code: "NETWORK", message: /the host name does not resolve/ });
    assert.equal(asked.length, 3);
  });

  it("asks this machine without it", async () => {
    await using proxy = await serve((_incoming, response) => void response.end("by proxy"));
    const env = { http_proxy: proxy.url.href };
    await using rig = await serve((_incoming, response) => void response.end("direct"), { env });
    assert.equal((await rig.get("/")).body.toString(), "direct");
  });

  it("names the proxy and its credentials where it answers 407", async () => {
    const proxy = createServer((_incoming, response) => void response.writeHead(407).end());
    proxy.on("connect", (_incoming, socket: Socket) => {
      socket.end("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
    });
    await using rig = await rigFor(proxy);
    const { host, port } = rig.url;
    for (const [scheme, variable, value, hint] of [
      ["http", "http_proxy", host, "Put"],
      ["https", "https_proxy", host, "Put"],
      ["http", "http_proxy", `u:secret@${host}`, "Correct"],
      ["https", "ALL_PROXY", `u:secret@${host}`, "Correct"],
    ] as const) {
      await assert.rejects(askThrough({ [variable]: value }, `${scheme}://cache.example/`), {
        code: "NETWORK",
        message: `Cannot read it: expected an answer from cache.example:${scheme === "http" ? 80 : 443}, but the proxy 127.0.0.1:${port} wants other credentials (status 407)`,
        hint: `${hint} user and password in ${variable}: http://USER:PASSWORD@127.0.0.1:${port}.`,
      });
    }
    await assert.rejects(rig.get("/"), {
      code: "NETWORK",
      message: /a proxy in between wants other credentials/,
      hint: /^Name that proxy/,
    });
  });

  it("closes a connection whose tunnel fails or never comes", { timeout: 10_000 }, async () => {
    for (const answer of ["HTTP/1.1 407 No\r\ncontent-length: 0\r\n\r\n", ""]) {
      const closed = Promise.withResolvers<void>();
      const proxy = createServer();
      proxy.on("connect", (_incoming, socket: Socket) => {
        socket.on("end", closed.resolve).on("error", () => undefined);
        socket.resume().write(answer);
      });
      const timeouts = { idleMs: 500, answerMs: 500, totalMs: 500 };
      await using rig = await rigFor(proxy);
      const client = createHttpClient({ env: { https_proxy: rig.url.href }, timeouts });
      const { signal } = new AbortController();
      const url = new URL("https://cache.example/");
      const asked = client.request({ action: "read it", method: "GET", url, signal });
      await assert.rejects(asked, { code: "NETWORK" });
      if (answer === "") client.close();
      await closed.promise;
      client.close();
    }
  });

  it("tells of a proxy that lets nobody through, and of one that is not there", async () => {
    const proxy = createServer();
    proxy.on("connect", (_incoming, socket: Socket) => socket.end("HTTP/1.1 403 No\r\n\r\n"));
    const rig = await rigFor(proxy);
    const { host, port } = rig.url;
    await assert.rejects(askThrough({ https_proxy: host }, "https://cache.example/"), {
      message: new RegExp(`the proxy 127.0.0.1:${port} did not let us through \\(status 403\\)$`),
      hint: /^Check the proxy in https_proxy/,
    });
    await rig[Symbol.asyncDispose]();
    await assert.rejects(askThrough({ https_proxy: host }, "https://cache.example/"), {
      message: new RegExp(`the connection was refused \\(127.0.0.1:${port}\\)$`),
      hint: /the proxy in https_proxy/,
    });
  });
});

describe("createHttpClient() over TLS", () => {
  const listener: RequestListener = (_incoming, response) => void response.end("by TLS");

  async function readOverTls(env: NodeJS.ProcessEnv, listen = listener): Promise<string> {
    const server = createTlsServer({ key: TLS_KEY, cert: TLS_CERTIFICATE }, listen);
    await using rig = await rigFor(server, { env });
    const url = new URL(rig.url.href.replace("http:", "https:"));
    return (await rig.get("/", { url })).body.toString();
  }

  async function withFile<T>(text: string, use: (file: string) => Promise<T>): Promise<T> {
    const folder = await mkdtemp(join(tmpdir(), "handpick-tls-"));
    try {
      await writeFile(join(folder, "ca.pem"), text);
      return await use(join(folder, "ca.pem"));
    } finally {
      await rm(folder, { recursive: true });
    }
  }

  it("refuses a certificate that nobody vouches for, with a hint", async () => {
    const refusal = { code: "NETWORK", hint: /^Set NIX_SSL_CERT_FILE/ };
    const error = await readOverTls({}).catch((found: unknown) => found);
    assert.ok(error instanceof HandpickError);
    assert.equal(error.code, refusal.code);
    assert.match(error.hint ?? "", refusal.hint);
  });

  it("trusts what NIX_SSL_CERT_FILE or SSL_CERT_FILE holds", async () => {
    await withFile(TLS_CERTIFICATE, async (file) => {
      assert.equal(await readOverTls({ NIX_SSL_CERT_FILE: file }), "by TLS");
      assert.equal(await readOverTls({ SSL_CERT_FILE: file }), "by TLS");
    });
  });

  it("ignores a certificate file that is of no use, and names it where one is needed", async () => {
    const env = { SSL_CERT_FILE: "/no-cert-file.crt" };
    const hint = /^Correct SSL_CERT_FILE: the file "\/no-cert-file.crt" does not exist/;
    await assert.rejects(readOverTls(env), { code: "NETWORK", hint });
    await withFile("not PEM", async (file) => {
      const hint = /^Correct NIX_SSL_CERT_FILE: the file .* holds no certificate/;
      await assert.rejects(readOverTls({ NIX_SSL_CERT_FILE: file }), { code: "NETWORK", hint });
    });
  });

  it("tells of a certificate for another name without talk of files", async () => {
    await withFile(TLS_CERTIFICATE, async (file) => {
      const server = createTlsServer({ key: TLS_KEY, cert: TLS_CERTIFICATE }, listener);
      server.listen(0, "127.0.0.2");
      await once(server, "listening");
      const url = `https://127.0.0.2:${(server.address() as AddressInfo).port}/`;
      const asked = askThrough({ NIX_SSL_CERT_FILE: file }, url);
      await assert.rejects(asked, {
        code: "NETWORK",
        hint: /^(?!.*CERT_FILE).*the certificate is for another name/,
      });
      server.close();
    });
  });

  it("reports a certificate file that cannot be read, or is too large for one", async () => {
    const env = { SSL_CERT_FILE: tmpdir() };
    await assert.rejects(readOverTls(env), { code: "FILE_UNUSABLE" });
    await withFile("", async (file) => {
      await truncate(file, (16 << 20) + 1);
      await assert.rejects(readOverTls({ SSL_CERT_FILE: file }), { code: "FILE_UNUSABLE" });
    });
  });

  it("refuses to be led from https to http", async () => {
    await withFile(TLS_CERTIFICATE, async (file) => {
      const toHttp: RequestListener = (_incoming, response) => {
        response.writeHead(302, { location: "http://127.0.0.1/" }).end();
      };
      await assert.rejects(readOverTls({ SSL_CERT_FILE: file }, toHttp), {
        code: "CACHE_PROTOCOL",
        message: /received a redirect from https:\/\/ to http:\/\/$/,
      });
    });
  });

  it("sends and receives several megabytes", async () => {
    await withFile(TLS_CERTIFICATE, async (file) => {
      const server = createTlsServer(
        { key: TLS_KEY, cert: TLS_CERTIFICATE },
        async (incoming, response) => void response.end(await bodyOf(incoming)),
      );
      await using rig = await rigFor(server, { env: { SSL_CERT_FILE: file } });
      const url = new URL(rig.url.href.replace("http:", "https:"));
      const body = new Uint8Array(5_000_000).fill(7);
      const maxBytes = body.length;
      const response = await rig.get("/", { url, method: "PUT", body, maxBytes });
      assert.deepEqual(new Uint8Array(response.body), body);
    });
  });
});
