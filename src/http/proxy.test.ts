import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { chooseProxy } from "./proxy.ts";

const proxyOf = (url: string, env: NodeJS.ProcessEnv): string | undefined =>
  chooseProxy(new URL(url), env)?.url.href;

describe("chooseProxy()", () => {
  it("takes the variable of the scheme, then that for all, as curl does", () => {
    const [one, other] = ["http://one:1", "http://other:2"];
    for (const [url, env, expected] of [
      ["http://h/", { http_proxy: one, all_proxy: other }, one],
      ["http://h/", { HTTP_PROXY: one }, undefined],
      ["http://h/", { HTTP_PROXY: one, ALL_PROXY: other }, other],
      ["http://h/", { https_proxy: one }, undefined],
      ["http://h/", { http_proxy: "", all_proxy: other }, other],
      ["https://h/", { https_proxy: one, HTTPS_PROXY: other }, one],
      ["https://h/", { HTTPS_PROXY: one }, one],
      ["https://h/", { http_proxy: one, all_proxy: other }, other],
      ["https://h/", {}, undefined],
    ] as const) {
      assert.equal(proxyOf(url, env), expected && `${expected}/`, JSON.stringify([url, env]));
    }
  });

  it("takes a proxy without scheme for one of http, and one without port for curl's", () => {
    for (const [value, expected] of [
      ["127.0.0.1:9", "http://127.0.0.1:9/"],
      ["proxy.example", "http://proxy.example:1080/"],
      ["http://proxy.example/", "http://proxy.example:1080/"],
      ["http://proxy.example:80", "http://proxy.example/"],
      ["user:p@ss@proxy.example:3128", "http://user:p%40ss@proxy.example:3128/"],
      ["user:1@proxy.example", "http://user:1@proxy.example:1080/"],
      ["https://proxy.example", "https://proxy.example/"],
      ["[::1]:3128", "http://[::1]:3128/"],
      [" http://proxy.example:1 ", "http://proxy.example:1/"],
    ] as const) {
      assert.equal(proxyOf("http://h/", { http_proxy: value }), expected, value);
    }
  });

  it("refuses what it cannot use, by the name of the variable and without the value", () => {
    for (const [value, found] of [
      ["socks5://user:secret@h:1080", /found socks5:\/\/$/],
      ["SOCKS4a://h", /found SOCKS4a:\/\/$/],
      ["ftp://h", /found ftp:\/\/$/],
      ["http://user:secret@[", /found something else$/],
      ["http://", /found something else$/],
      ["user:secret", /found something else$/],
    ] as const) {
      for (const variable of ["https_proxy", "ALL_PROXY"]) {
        assert.throws(
          () => proxyOf("https://h/", { [variable]: value }),
          (error: Error & { code?: string; hint?: string }) => {
            assert.equal(error.code, "CONFIG_INVALID");
            assert.match(error.message, found);
            assert.match(`${error.message} ${error.hint}`, new RegExp(`${variable}.*${variable}`));
            assert.doesNotMatch(`${error.message} ${error.hint}`, /secret/);
            return true;
          },
        );
      }
    }
  });

  it("reads no_proxy as curl does", () => {
    for (const [host, list, isDirect] of [
      ["cache.example", "cache.example", true],
      ["a.cache.example", "cache.example", true],
      ["a.cache.example", ".cache.example", true],
      ["cache.example", ".cache.example", true],
      ["cache.example.", "CACHE.example", true],
      ["notcache.example", "cache.example", false],
      ["cache.example", "other.example, cache.example", true],
      ["cache.example", "other.example cache.example", true],
      ["cache.example", "*", true],
      ["cache.example", " * ", true],
      ["cache.example", "*.example", false],
      ["cache.example", "cache.example:443", false],
      ["cache.example", ". , ,", false],
      ["cache.example", "", false],
      ["192.168.1.7", "192.168.1.7", true],
      ["192.168.1.7", "192.168.0.0/16", true],
      ["192.168.1.7", "192.168.1.0/28", true],
      ["192.168.1.7", "192.168.2.0/24", false],
      ["192.168.1.7", "192.168.0.0/33", false],
      ["192.168.1.7", "168.1.7", false],
      ["[2001:db8::7]", "2001:db8::/32", true],
      ["[2001:db8::7]", "[2001:DB8:0::7]", true],
      ["[2001:db8::7]", "2001:db9::/32", false],
      ["10.example", "10.0.0.0/8", false],
    ] as const) {
      const env = { https_proxy: "http://p:1", no_proxy: list };
      const found = proxyOf(`https://${host}/`, env);
      assert.equal(found, isDirect ? undefined : "http://p:1/", `${host} ${list}`);
    }
    const capitals = { https_proxy: "http://p:1", NO_PROXY: "cache.example" };
    assert.equal(proxyOf("https://cache.example/", capitals), undefined);
  });

  it("never chooses one for this machine, and does not look at the variable", () => {
    for (const host of [
      "localhost",
      "a.localhost",
      "127.0.0.1",
      "127.9.9.9",
      "[::1]",
      "0.0.0.0",
      "[::]",
    ]) {
      assert.equal(proxyOf(`http://${host}:8080/`, { http_proxy: "http://p:1" }), undefined, host);
      assert.equal(proxyOf(`http://${host}/`, { http_proxy: "socks5://p:1" }), undefined, host);
    }
  });
});
