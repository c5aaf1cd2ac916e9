import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { FUZZ_RUNS, hostileText, valueOrRefusal } from "../../../test/fuzz.ts";
import type { ClientConfig } from "../kind.ts";
import { atticConfigPath, parseAtticConfig } from "./attic-config.ts";

const FILE = "/home/me/.config/attic/config.toml";
const TEXT = `
default-server = "central"
[servers.central]
endpoint = "https://cache.example.org/attic/"
token = " token-of-central\\n"
[servers.local]
endpoint = "http://127.0.0.1:8080"
token-file = "/run/secrets/attic"
[servers.public]
endpoint = "https://public.example.org"
`;

function parse(url: string, host?: string, text: string = TEXT): ClientConfig {
  return parseAtticConfig(text, { file: FILE, url, host });
}

function tokenOf(url: string, host?: string): string | undefined {
  const { token, tokenFile } = parse(url, host);
  return token?.reveal() ?? tokenFile;
}

describe("parseAtticConfig()", () => {
  it("gives the endpoint and the token of the server that a URL names", () => {
    const central = parse("attic://central/mine");
    assert.equal(central.host, "https://cache.example.org/attic/");
    assert.equal(central.token?.reveal(), "token-of-central");
    const local = parse("attic://local/mine");
    assert.deepEqual(
      [local.host, local.token, local.tokenFile, local.warnings],
      ["http://127.0.0.1:8080", undefined, "/run/secrets/attic", []],
    );
    assert.equal(tokenOf("attic://public/mine"), undefined);
  });

  it("gives the token of a server to the origin of its endpoint only", () => {
    assert.equal(tokenOf("attic://cache.example.org/mine"), "token-of-central");
    assert.equal(tokenOf("attic://x/mine", "https://cache.example.org:443/y"), "token-of-central");
    assert.equal(tokenOf("attic://public/x", "https://cache.example.org"), "token-of-central");
    for (const [url, host] of [
      ["attic://central/mine", "https://evil.example"],
      ["attic://central/mine", "http://cache.example.org"],
      ["attic://central/mine", "https://cache.example.org:8443"],
      ["attic://cache.example.org:8443/mine", undefined],
      ["attic://127.0.0.1:8080/mine", undefined],
      ["attic://cache.example.org.evil.example/mine", undefined],
      ["attic://Central/mine", undefined],
    ] as const) {
      assert.equal(tokenOf(url, host), undefined, `${url} at ${host}`);
    }
  });

  it("names no host where the URL does so itself, and warns of one that may be a lost name", () => {
    const other = parse("attic://cache.example.org/mine");
    assert.deepEqual([other.host, other.warnings], [undefined, []]);
    assert.match(parse("attic://centrla/mine").warnings.join(), /no server "centrla", so that is/);
    assert.deepEqual(parse("attic://localhost/mine").warnings, []);
    assert.deepEqual(parse("attic://x/mine", "http://127.0.0.1").warnings, []);
  });

  it("passes over servers that are none, but for the one that the URL names", () => {
    const text = `${TEXT}[servers.bad]\nendpoint = "ftp://SECRET"\n[servers]\nworse = 1\n`;
    assert.match(parse("attic://central/x", undefined, text).warnings.join(), /"bad" .*"worse" /);
    assert.throws(() => parse("attic://bad/x", undefined, text), {
      code: "CONFIG_INVALID",
      message: `Cannot use ${FILE}: servers.bad needs an endpoint, a URL of http:// or https://`,
    });
    const relative = TEXT.replace("/run/secrets/attic", "secrets/attic");
    assert.throws(() => parse("attic://local/x", undefined, relative), {
      message: /token-file of a server must be the full name of a file$/,
    });
  });

  it("is content with an empty file, and with keys that it does not know", () => {
    for (const text of ["", "servers = {}", "[more]\nx = 1\n"]) {
      const { token, host } = parse("attic://cache.example.org/x", undefined, text);
      assert.deepEqual([token, host], [undefined, undefined]);
    }
  });

  it("answers any text with a value or CONFIG_INVALID, and quotes nothing of it", () => {
    const texts = [
      TEXT,
      'servers = "SECRET"',
      '[servers.central]\ntoken = "SECRET',
      "servers.x.y = SECRET",
    ];
    for (const text of texts.slice(1)) {
      assert.throws(
        () => parse("attic://central/x", undefined, text),
        (error: Error) => !/SECRET/.test(error.message) && error.cause === undefined,
      );
    }
    fc.assert(
      fc.property(hostileText(texts), (text) => {
        valueOrRefusal("HandpickError", () => parse("attic://central/x", undefined, text));
      }),
      { numRuns: FUZZ_RUNS },
    );
  });
});

describe("atticConfigPath()", () => {
  it("is where the client has it", () => {
    assert.equal(atticConfigPath({ XDG_CONFIG_HOME: "/c" }), "/c/attic/config.toml");
    assert.equal(atticConfigPath({ HOME: "/home/me" }), FILE);
  });
});
