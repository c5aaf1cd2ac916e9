import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { Hono } from "hono";
import { HTTPException } from "hono/http-exception";

import { hostCheck, type ServedAs } from "./host-check.ts";

async function statusFor(
  host: string | undefined,
  served: Partial<ServedAs> = {},
): Promise<number> {
  const app = new Hono();
  app.onError((error, c) => c.text("", error instanceof HTTPException ? error.status : 500));
  app.use(hostCheck({ listenHost: "127.0.0.1", publicUrl: undefined, ...served }));
  app.get("/", (c) => c.text("here"));
  const headers = host === undefined ? {} : { host };
  return (await app.request("http://127.0.0.1/", { headers })).status;
}

describe("hostCheck()", () => {
  it("lets this machine's names pass on a loopback address, with a port and without", async () => {
    for (const host of ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "127.1.2.3", "[::1]:80"]) {
      for (const listenHost of ["127.0.0.1", "localhost", "::1"]) {
        assert.equal(await statusFor(host, { listenHost }), 200, host);
      }
    }
    assert.equal(await statusFor(undefined), 200);
  });

  it("refuses any other name there", async () => {
    for (const host of [
      "evil.example",
      "evil.example:8080",
      "localhost.evil.example",
      "127.0.0.1.evil.example",
      "127.0.0.1:80:80",
      "10.0.0.1",
      "0.0.0.0",
      "",
      "[::2]",
      "a b",
    ]) {
      assert.equal(await statusFor(host), 421, host);
    }
  });

  it("lets the public name pass as well", async () => {
    const publicUrl = "https://cache.example.org/nix";
    assert.equal(await statusFor("Cache.example.org", { publicUrl }), 200);
    assert.equal(await statusFor("cache.example.org:8443", { publicUrl }), 200);
    assert.equal(await statusFor("evil.example", { publicUrl }), 421);
  });

  it("lets every name pass where others than this machine reach the server", async () => {
    for (const listenHost of ["0.0.0.0", "::", "10.0.0.1", "nas.local"]) {
      assert.equal(await statusFor("nas.local", { listenHost }), 200);
    }
  });
});
