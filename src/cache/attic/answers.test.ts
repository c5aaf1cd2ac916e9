import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { FUZZ_RUNS, hostileText, valueOrRefusal } from "../../../test/fuzz.ts";
import type { HttpResponse } from "../../http/http-message.ts";
import { assertUploaded, readConfig, readMissing } from "./answers.ts";

const OWN = new URL("https://cache.example.org/mine");
const CONFIG = {
  substituter_endpoint: "https://readers.example.org/mine/",
  api_endpoint: "https://cache.example.org/",
  public_key: "mine:t+vu7esghEqecqXeqx1S05oSKzSFad5PBFb4RJBRInI=",
  is_public: true,
  store_dir: "/nix/store",
  priority: 40,
  upstream_cache_key_names: ["cache.nixos.org-1"],
  retention_period: "Global",
};

function answer(body: unknown): HttpResponse {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return { action: "try it", status: 200, headers: {}, body: Buffer.from(text) };
}

describe("the answers of an Attic server", () => {
  it("are read as a server gives them", () => {
    assert.deepEqual(readConfig(answer(CONFIG), OWN), {
      readUrl: "https://readers.example.org/mine",
      storeDir: "/nix/store",
      publicKeys: [CONFIG.public_key],
      isPublic: true,
      preferredCompression: "none",
      priority: 40,
    });
    assert.deepEqual(readMissing(answer({ missing_paths: ["a"], more: 1 })), ["a"]);
    assertUploaded(answer({ kind: "Uploaded", file_size: 1, frac_deduplicated: 0.5 }));
    assertUploaded(answer({ kind: "Deduplicated", frac_deduplicated: null }));
  });

  it("have nothing in what is shown of them that could steer a terminal", () => {
    const { readUrl, publicKeys } = readConfig(
      answer({
        ...CONFIG,
        substituter_endpoint: "https://other.example/\u001b[2J\nok  mine: fine\u202e",
        public_key: "mine:AA==\n\u001b]0;title\u0007",
      }),
      OWN,
    );
    assert.doesNotMatch([readUrl, ...(publicKeys ?? [])].join(""), /\p{C}/u);
  });

  it("are refused with the value that is wrong", () => {
    for (const [key, value, rule] of [
      ["substituter_endpoint", "ftp://x", "a URL of http:// or https://"],
      ["substituter_endpoint", undefined, "a text"],
      ["public_key", "k".repeat(1025), "a text of at most 1024 characters"],
      ["is_public", 1, "true or false"],
      ["store_dir", "nix/store", "the full name of a folder"],
      ["store_dir", "/nix\u0007", "the full name of a folder"],
      ["priority", 1.5, "a whole number"],
    ] as const) {
      const read = (): unknown => readConfig(answer({ ...CONFIG, [key]: value }), OWN);
      const message = new RegExp(`^Cannot try it: expected ${key} to be ${rule}, found`);
      assert.throws(read, { code: "CACHE_PROTOCOL", message });
    }
    assert.throws(() => readMissing(answer({ missing_paths: [1] })), { code: "CACHE_PROTOCOL" });
    assert.throws(() => assertUploaded(answer({ kind: "Lost" })), { code: "CACHE_PROTOCOL" });
  });

  it("give values or CACHE_PROTOCOL, whatever the server sends", () => {
    const seeds = [CONFIG, { missing_paths: ["a"] }, { kind: "Uploaded" }];
    const texts = seeds.map((seed) => JSON.stringify(seed));
    fc.assert(
      fc.property(fc.oneof(hostileText(texts), fc.json()), (text) => {
        valueOrRefusal("HandpickError", () => readConfig(answer(text), OWN));
        valueOrRefusal("HandpickError", () => readMissing(answer(text)));
        valueOrRefusal("HandpickError", () => assertUploaded(answer(text)));
      }),
      { numRuns: FUZZ_RUNS },
    );
  });
});
