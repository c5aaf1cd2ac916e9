import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { isLoopback } from "./loopback.ts";

describe("isLoopback()", () => {
  it("knows the names of this machine, as URLs spell them", () => {
    for (const host of [
      "localhost",
      "LOCALHOST.",
      "a.localhost",
      "127.1",
      "127.255.0.9",
      "[::1]",
      "[0::1]",
    ]) {
      assert.ok(isLoopback(new URL(`http://${host}/`).hostname), host);
    }
    assert.ok(isLoopback(new URL("http://[::ffff:127.0.0.1]/").hostname));
    assert.ok(isLoopback("::1"));
  });

  it("takes no other name for one of them", () => {
    for (const host of ["localhost.evil.example", "127.0.0.1.evil.example", "notlocalhost"]) {
      assert.ok(!isLoopback(new URL(`http://${host}/`).hostname), host);
    }
    for (const host of ["0.0.0.0", "128.0.0.1", "[::2]", "[::ffff:10.0.0.1]"]) {
      assert.ok(!isLoopback(new URL(`http://${host}/`).hostname), host);
    }
  });
});
