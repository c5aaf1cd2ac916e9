import assert from "node:assert/strict";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { describe, it } from "node:test";

import { Hono } from "hono";

import { listen } from "./listener.ts";

const ADDRESS = { host: "127.0.0.1", port: 0 };
const stopper = (): { limits: object; stopping: AbortController } => ({
  limits: {},
  stopping: new AbortController(),
});

describe("listen()", () => {
  it("lets requests wait for the app", async () => {
    const started = Promise.withResolvers<void>();
    const onStart = (): void => started.resolve();
    subscribe("http.server.request.start", onStart);
    let early: Promise<Response> | undefined;
    const listener = await listen(ADDRESS, stopper(), async (port) => {
      early = fetch(`http://127.0.0.1:${port}/`, { headers: { connection: "close" } });
      await started.promise;
      return new Hono().get("/", (c) => c.text("here"));
    });
    unsubscribe("http.server.request.start", onStart);
    assert.equal(await (await early)?.text(), "here");
    await listener.close();
  });

  it("frees the address, connections and all, where there is no app", async () => {
    let socket: Socket | undefined;
    const failed = listen(ADDRESS, stopper(), async (port) => {
      socket = connect(port, "127.0.0.1").on("error", () => {});
      await once(socket, "connect");
      throw new Error("no app");
    });
    await assert.rejects(failed, { message: "no app" });
    assert.ok(socket);
    if (!socket.closed) await once(socket.resume(), "close");
  });
});
