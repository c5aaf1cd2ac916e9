import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, it } from "node:test";

import { createFakeClock } from "../../test/fakes/clock.ts";
import { createCachixCache } from "../cache/cachix/cachix-cache.ts";
import { isTransient, networkError } from "./network-error.ts";

describe("networkError()", () => {
  it("speaks of the clock where a certificate is not of today, not of files", () => {
    const url = new URL("https://cache.example/");
    const { signal } = new AbortController();
    const request = { action: "read it", method: "GET", url, signal } as const;
    for (const code of ["CERT_HAS_EXPIRED", "CERT_NOT_YET_VALID"]) {
      const cause = Object.assign(new Error("certificate of another day"), { code });
      const error = networkError(request, cause, { proxy: undefined, env: {} });
      assert.match(error.hint ?? "", /^Check the clock of this machine(?!.*CERT_FILE)/);
      assert.equal(isTransient(error), false);
    }
  });

  it("tells of a server without TLS, once", async () => {
    const server = createServer((_incoming, response) => void response.end("plain"));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const clock = createFakeClock();
    const host = `https://127.0.0.1:${port}`;
    const cache = createCachixCache({ name: "mine", cacheName: "acme", host, clock, env: {} });
    await assert.rejects(cache.info(new AbortController().signal), {
      code: "NETWORK",
      message: `Cannot look up cache "mine": expected an answer from 127.0.0.1:${port}, but the server does not speak TLS there`,
      hint: /write http:\/\/ in place of https:\/\/; .*scheme=http/,
    });
    assert.deepEqual(clock.sleeps, []);
    await cache[Symbol.asyncDispose]();
    server.close();
    await once(server, "close");
  });
});
