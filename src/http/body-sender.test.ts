import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer as createTlsServer } from "node:https";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";

import { bodyOf, rigFor, serve, serveRaw, trackSockets } from "../../test/http-rig.ts";
import { TLS_CERTIFICATE, TLS_KEY } from "../../test/fakes/tls.ts";
import { systemClock } from "../clock.ts";
import { createHttpClient } from "./http-client.ts";
import { DEFAULT_TIMEOUTS } from "./http-message.ts";
import type { StreamBody } from "./http-message.ts";
import { retry } from "./retry.ts";

interface Source extends StreamBody {
  readonly opened: number;
  readonly pieces: number;
  readonly closed: number;
}

interface SourceOptions {
  readonly sizeBytes?: number | undefined;
  /** Awaited before each piece. */
  readonly before?: (piece: number) => Promise<unknown>;
  readonly onClose?: () => void;
}

/** A body in the pieces given, all in the same memory, which is overwritten when it is given back. */
function sourceOf(pieces: Iterable<Uint8Array>, options: SourceOptions = {}): Source {
  const counts = { opened: 0, pieces: 0, closed: 0 };
  return {
    get opened() {
      return counts.opened;
    },
    get pieces() {
      return counts.pieces;
    },
    get closed() {
      return counts.closed;
    },
    sizeBytes: options.sizeBytes,
    async *open() {
      counts.opened += 1;
      const memory = new Uint8Array(300_000);
      try {
        for (const piece of pieces) {
          await options.before?.(counts.pieces);
          counts.pieces += 1;
          memory.set(piece);
          yield memory.subarray(0, piece.byteLength);
          memory.fill(0);
        }
      } finally {
        memory.fill(0);
        counts.closed += 1;
        options.onClose?.();
      }
    },
  };
}

function* repeated(piece: Uint8Array, count: number): Iterable<Uint8Array> {
  for (let index = 0; index < count; index++) yield piece;
}

const digestOf = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const piece = new Uint8Array(100_000).fill(7);

describe("BodySender with a stream", () => {
  it("sends pieces of any size, with their length where it is known", async () => {
    const seen: (string | undefined)[] = [];
    await using rig = await serve(async (incoming, response) => {
      const { headers } = incoming;
      seen.push(headers["content-length"] ?? headers["transfer-encoding"]);
      response.end(digestOf(await bodyOf(incoming)));
    });
    const sizes = [1, 0, 65_535, 65_536, 65_537, 262_144, 3, 0, 70_000, 0];
    for (const chosen of [sizes, [1], [0], [65_536], [65_537], []]) {
      const pieces = chosen.map((size) => randomBytes(size));
      const whole = Buffer.concat(pieces);
      for (const sizeBytes of [whole.length, undefined]) {
        const source = sourceOf(pieces, { sizeBytes });
        const response = await rig.get("/", { method: "PUT", body: source });
        assert.equal(response.body.toString(), digestOf(whole), chosen.join());
        assert.equal(seen.pop(), sizeBytes === undefined ? "chunked" : `${sizeBytes}`);
        assert.deepEqual([source.opened, source.closed], [1, 1]);
      }
    }
  });

  it("uses the connection again", async () => {
    const ports = new Set<number | undefined>();
    await using rig = await serve(async (incoming, response) => {
      ports.add(incoming.socket.remotePort);
      await bodyOf(incoming);
      response.end();
    });
    for (const sizeBytes of [200_000, undefined, 200_000]) {
      const body = sourceOf([piece, piece], { sizeBytes });
      await rig.get("/", { method: "PUT", body });
    }
    assert.equal(ports.size, 1);
  });

  it("fails where a source has another size, and sends nothing that looks complete", async () => {
    let complete = 0;
    await using rig = await serve((incoming) => {
      incoming.on("error", () => undefined).resume();
      incoming.on("end", () => (complete += 1));
    });
    for (const [pieces, sizeBytes, found] of [
      [[piece, piece], 100_000, "100000 bytes, found 200000 or more"],
      [[piece, piece], 150_000, "150000 bytes, found 200000 or more"],
      [[piece], 0, "0 bytes, found 100000 or more"],
      [[piece, piece], 200_001, "200001 bytes, found 200000"],
      [[], 1, "1 bytes, found 0"],
    ] as const) {
      const source = sourceOf(pieces, { sizeBytes });
      await assert.rejects(rig.get("/", { method: "PUT", body: source }), {
        name: "RangeError",
        message: `Cannot read it: expected a body of ${found}`,
      });
      assert.equal(source.closed, 1);
    }
    assert.equal(complete, 0);
  });

  it("fails with the error of a source as it is, and sends nothing that looks complete", async () => {
    let complete = 0;
    await using rig = await serve((incoming) => {
      incoming.on("error", () => undefined).resume();
      incoming.on("end", () => (complete += 1));
    });
    const error = new Error("the disk is gone");
    const before = async (count: number): Promise<void> => {
      if (count === 2) throw error;
    };
    for (const sizeBytes of [200_000, undefined]) {
      const source = sourceOf([piece, piece, piece], { sizeBytes, before });
      await assert.rejects(rig.get("/", { method: "PUT", body: source }), error);
      assert.equal(source.closed, 1);
    }
    assert.equal(complete, 0);
  });

  it("opens no source for a server that cannot be reached", async () => {
    const closed = await serve(() => undefined);
    await closed[Symbol.asyncDispose]();
    const source = sourceOf([piece]);
    await assert.rejects(closed.get("/", { method: "PUT", body: source }), { code: "NETWORK" });
    assert.equal(source.opened, 0);
  });

  it("opens a source again for another try", async () => {
    const digests: string[] = [];
    await using rig = await serve(async (incoming, response) => {
      if (digests.length === 0) incoming.once("data", () => incoming.destroy());
      digests.push(digestOf(await bodyOf(incoming).catch(() => new Uint8Array())));
      response.writeHead(digests.length === 2 ? 503 : 200).end();
    });
    const source = sourceOf([piece, piece], { sizeBytes: 200_000 });
    const clock = { ...systemClock, sleep: async () => undefined };
    const { signal } = new AbortController();
    const send = () => rig.get("/", { method: "PUT", body: source, signal });
    assert.equal((await retry(send, { clock, signal })).status, 200);
    const whole = digestOf(Buffer.concat([piece, piece]));
    assert.deepEqual(digests.slice(1), [whole, whole]);
    assert.deepEqual([source.opened, source.closed], [3, 3]);
  });

  it("goes through a proxy", async () => {
    await using proxy = await serve(async (incoming, response) => {
      response.end(`${incoming.url} ${digestOf(await bodyOf(incoming))}`);
    });
    const client = createHttpClient({ env: { http_proxy: proxy.url.href } });
    const { signal } = new AbortController();
    const url = new URL("http://cache.example/x");
    const body = sourceOf([piece], { sizeBytes: piece.byteLength });
    const response = await client.request({ action: "put it", method: "PUT", url, body, signal });
    assert.equal(response.body.toString(), `${url.href} ${digestOf(piece)}`);
    client.close();
  });
});

describe("BodySender with a stream and a slow peer", () => {
  it("takes no more from a source than the peer reads", async () => {
    using sockets = trackSockets();
    const stop = new AbortController();
    const paused = Promise.withResolvers<void>();
    await using rig = await serveRaw((socket) => {
      socket.pause();
      paused.resolve();
    });
    let openAtClose = -1;
    const onClose = (): void => void (openAtClose = sockets.open.size);
    const source = sourceOf(repeated(piece, 10_000), { onClose });
    const { signal } = stop;
    const pending = rig.get("/", { method: "PUT", body: source, signal });
    await paused.promise;
    await delay(300);
    const { pieces } = source;
    await delay(100);
    assert.equal(source.pieces, pieces);
    assert.ok(pieces < 200, `${pieces} pieces`); // what the buffers of the system hold
    const reason = new Error("stop");
    stop.abort(reason);
    await assert.rejects(pending, reason);
    assert.deepEqual([source.pieces, source.closed], [pieces, 1]);
    // Nothing reads the memory of a piece any more when its source learns that it is free.
    assert.equal(openAtClose, 0);
  });

  it("gives up when the server stops to read, and closes the source", async () => {
    const timeouts = { ...DEFAULT_TIMEOUTS, idleMs: 500 };
    await using rig = await serveRaw((socket) => socket.pause(), { timeouts });
    const source = sourceOf(repeated(piece, 10_000));
    await assert.rejects(rig.get("/", { method: "PUT", body: source }), {
      code: "NETWORK",
      message: /but no progress was made within 0\.5 s$/,
    });
    assert.equal(source.closed, 1);
  });

  it("does not blame the peer for a slow source", async () => {
    const timeouts = { ...DEFAULT_TIMEOUTS, idleMs: 500, totalMs: 500 };
    await using rig = await serve(
      async (incoming, response) => void response.end(String((await bodyOf(incoming)).length)),
      { timeouts },
    );
    const source = sourceOf([piece.subarray(0, 9), piece.subarray(0, 9)], {
      before: () => delay(700),
    });
    const response = await rig.get("/", { method: "PUT", body: source });
    assert.equal(response.body.toString(), "18");
  });

  it("closes a source that is asked for a piece when the request is aborted", async () => {
    const stop = new AbortController();
    await using rig = await serve((incoming) => void incoming.resume());
    const { signal } = stop;
    const asked = Promise.withResolvers<void>();
    const before = async (count: number): Promise<void> => {
      if (count === 0) return;
      asked.resolve();
      await delay(60_000, undefined, { signal });
    };
    const source = sourceOf([piece, piece], { sizeBytes: 200_000, before });
    const pending = rig.get("/", { method: "PUT", body: source, signal });
    await asked.promise;
    const reason = new Error("stop");
    stop.abort(reason);
    await assert.rejects(pending, reason);
    assert.equal(source.closed, 1);
  });
});

describe("BodySender with a stream and an answer before its end", () => {
  const early = "HTTP/1.1 413 No\r\ncontent-length: 2\r\n\r\nno";

  it("returns it and closes the source, where the peer stops to read", async () => {
    using sockets = trackSockets();
    await using rig = await serveRaw((socket) => void socket.pause().write(early));
    for (const sizeBytes of [undefined, 10_000 * piece.byteLength]) {
      const source = sourceOf(repeated(piece, 10_000), { sizeBytes });
      const response = await rig.get("/", { method: "PUT", body: source });
      assert.equal(response.status, 413);
      assert.equal(source.closed, 1);
      assert.equal(sockets.open.size, 0);
    }
  });

  /** Answers a part of the body, and resets the connection at once. */
  const refuse = (socket: Socket): void => {
    socket.once("data", () => {
      socket.write(early);
      socket.resetAndDestroy();
    });
  };

  it("returns it where the peer closes the connection", async () => {
    await using rig = await serveRaw(refuse);
    for (let round = 0; round < 50; round++) {
      // The answer is there, and the connection cut, when the source comes with its next piece.
      const before = (): Promise<unknown> => new Promise((resolve) => setImmediate(resolve));
      const size = round % 2 === 0 ? 99 : 65_000;
      const source = sourceOf(repeated(piece.subarray(0, size), 1_000), { before });
      const response = await rig.get("/", { method: "PUT", body: source });
      assert.deepEqual([response.status, response.body.toString()], [413, "no"]);
      assert.equal(source.closed, 1);
    }
  });

  it("returns it over TLS", async () => {
    const folder = await mkdtemp(join(tmpdir(), "handpick-tls-"));
    const file = join(folder, "ca.pem");
    await writeFile(file, TLS_CERTIFICATE);
    const server = createTlsServer(
      { key: TLS_KEY, cert: TLS_CERTIFICATE },
      (incoming, response) => {
        incoming.once("data", () => response.writeHead(413, { connection: "close" }).end("no"));
      },
    );
    await using rig = await rigFor(server, { env: { SSL_CERT_FILE: file } });
    const url = new URL(rig.url.href.replace("http:", "https:"));
    for (let round = 0; round < 10; round++) {
      const source = sourceOf(repeated(piece, 1_000));
      const response = await rig.get("/", { url, method: "PUT", body: source });
      assert.deepEqual([response.status, response.body.toString()], [413, "no"]);
      assert.equal(source.closed, 1);
    }
    await rm(folder, { recursive: true });
  });
});
