import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { localUrl, urlForClient } from "./base-url.ts";

describe("localUrl()", () => {
  it("names an address that programs on this machine reach", () => {
    assert.equal(localUrl({ host: "127.0.0.1", port: 80 }), "http://127.0.0.1:80");
    assert.equal(localUrl({ host: "0.0.0.0", port: 80 }), "http://127.0.0.1:80");
    assert.equal(localUrl({ host: "::", port: 80 }), "http://[::1]:80");
    assert.equal(localUrl({ host: "fe80::1", port: 80 }), "http://[fe80::1]:80");
  });
});

describe("urlForClient()", () => {
  it("keeps to the one address it listens on, whatever the client says", () => {
    const address = { host: "10.0.0.1", port: 8080 };
    assert.equal(urlForClient(address, "evil.example"), "http://10.0.0.1:8080");
  });

  it("takes the client's word for a name when it listens on all addresses", () => {
    const address = { host: "0.0.0.0", port: 8080 };
    assert.equal(urlForClient(address, "nas.local:8080"), "http://nas.local:8080");
    assert.equal(urlForClient(address, "[fe80::1]:8080"), "http://[fe80::1]:8080");
  });

  it("falls back to loopback for a Host header that is no host", () => {
    const address = { host: "0.0.0.0", port: 8080 };
    for (const host of [undefined, "", "a b", "x/y", "u@h", "h:x", "h?", "<x>"]) {
      assert.equal(urlForClient(address, host), "http://127.0.0.1:8080");
    }
  });
});
