import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { startFakeCachix } from "../../test/fakes/cachix.ts";
import { parseCachixUrl } from "./cachix/cachix-url.ts";
import { urlForms } from "./kinds.ts";
import { openCache } from "./open-cache.ts";

describe("openCache()", () => {
  it("opens a Cachix cache at the host given", async () => {
    await using fake = await startFakeCachix("a-b_c.d");
    const options = {
      name: "mine",
      url: "cachix://a-b_c.d",
      host: fake.url,
      env: {},
    };
    await using cache = await openCache(options);
    assert.equal(cache.name, "mine");
    await cache.info(new AbortController().signal);
    assert.equal(fake.requests[0]?.headers["user-agent"], "handpick/dev");
  });

  it("refuses every other kind of cache with a hint", async () => {
    for (const url of ["ftp://h", "file:/srv", "attic:h/c", "mine", ""]) {
      await assert.rejects(openCache({ name: "mine", url, env: {} }), {
        code: "CACHE_URL_UNSUPPORTED",
        hint: `This version pushes to ${urlForms()} only.`,
      });
    }
  });

  it("shows of a URL it cannot open no more than the scheme", async () => {
    const url = "ftp://user:secret@host/";
    const message = /^(?!.*secret).* ftp:$/;
    await assert.rejects(openCache({ name: "mine", url }), { message });
  });
});

describe("parseCachixUrl()", () => {
  it("gives the name", () => {
    assert.equal(parseCachixUrl("cachix://acme"), "acme");
    assert.equal(parseCachixUrl("cachix://Acme-2/"), "Acme-2");
  });

  it("refuses what is no plain name", () => {
    const bad = [
      "cachix://",
      "cachix:acme",
      "cachix://a/b",
      "cachix://..",
      "cachix://a?b",
      "cachix://-a",
    ];
    for (const url of [...bad, `cachix://${"a".repeat(101)}`, "https://acme.cachix.org"]) {
      assert.throws(() => parseCachixUrl(url), { code: "CACHE_URL_UNSUPPORTED" }, url);
    }
  });
});
