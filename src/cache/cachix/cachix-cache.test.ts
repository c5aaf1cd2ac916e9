import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { createCachixRig } from "../../../test/cachix-rig.ts";
import { sampleUpload } from "../../../test/sample-upload.ts";
import { hashPartOf, parseHashPart } from "../../nix/store-path.ts";
import { DEFAULT_TIMEOUTS } from "../../http/http-message.ts";
import { createCachixCache } from "./cachix-cache.ts";

const { signal } = new AbortController();
const sample = sampleUpload({ name: "hello-1.0" });
const hash = hashPartOf(sample.storePath);

describe("info() of a Cachix cache", () => {
  it("reads the cache object", async () => {
    await using rig = await createCachixRig();
    rig.fake.service.publicSigningKeys.push("acme.cachix.org-1:AAAA");
    assert.deepEqual(await rig.cache.info(signal), {
      readUrl: rig.fake.url,
      publicKeys: ["acme.cachix.org-1:AAAA"],
      isPublic: true,
      storeDir: "/nix/store",
      writable: true,
      preferredCompression: "zstd",
    });
    const [request] = rig.fake.of("info");
    assert.equal(request?.target, "/api/v1/cache/acme");
    assert.equal(request?.headers.authorization, "Bearer fake-token");
    assert.equal(request?.headers.accept, "application/json");
    assert.equal(request?.headers["user-agent"], "handpick/dev");
  });

  it("leaves the closure rule to Cachix, and to a server that says that it keeps it", async () => {
    const ruleOf = async (host?: string): Promise<string> => {
      await using cache = createCachixCache({ name: "mine", cacheName: "acme", host, env: {} });
      return cache.traits.closureRule;
    };
    const foreign = ["http://cachix.org", "https://notcachix.org", "https://cachix.org.example"];
    assert.equal(await ruleOf(), "cache");
    assert.equal(await ruleOf("https://app.cachix.org"), "cache");
    for (const host of foreign) assert.equal(await ruleOf(host), "client", host);
    await using rig = await createCachixRig();
    rig.fake.service.hidesIncompleteClosures = false;
    await rig.cache.info(signal);
    assert.equal(rig.cache.traits.closureRule, "client");
    rig.fake.service.hidesIncompleteClosures = true;
    await rig.cache.info(signal);
    assert.equal(rig.cache.traits.closureRule, "cache");
  });

  it("translates permission and preferred method", async () => {
    await using rig = await createCachixRig();
    const { service } = rig.fake;
    const answers = [
      ["Read", "XZ", false, "xz"],
      ["Admin", "ZSTD", true, "zstd"],
      ["Write", "BROTLI", true, undefined],
      ["Write", null, true, undefined],
    ] as const;
    for (const [permission, method, writable, preferredCompression] of answers) {
      service.permission = permission;
      service.preferredCompressionMethod = method;
      const info = await rig.cache.info(signal);
      assert.deepEqual(
        [info.writable, info.preferredCompression],
        [writable, preferredCompression],
      );
    }
  });

  it("sends no authorization without a token", async () => {
    await using rig = await createCachixRig({ token: undefined });
    await rig.cache.info(signal);
    assert.equal(rig.fake.of("info")[0]?.headers.authorization, undefined);
  });

  it("tells a cache that does not exist from one that fails", async () => {
    const codes = [
      [401, "CACHE_NOT_FOUND"],
      [404, "CACHE_NOT_FOUND"],
      [403, "CACHE_REFUSED"],
      [400, "CACHE_PROTOCOL"],
      [301, "CACHE_PROTOCOL"],
    ] as const;
    await using rig = await createCachixRig();
    for (const [status, code] of codes) {
      rig.fake.next("info").reply(status, { body: "no" });
      const message = `Cannot look up cache "mine": expected status 200, received ${status}: no`;
      await assert.rejects(rig.cache.info(signal), { code, message });
    }
  });

  it("says that it has to be a Cachix service where an answer is too large", async () => {
    await using rig = await createCachixRig();
    const hint = "Check that the host of this cache is a Cachix service.";
    rig.fake.next("info").reply(200, { body: "x".repeat(1024 * 1024 + 1) });
    await assert.rejects(rig.cache.info(signal), { code: "CACHE_PROTOCOL", hint });
    rig.fake.next("info").reply(200, { body: "[]" });
    await assert.rejects(rig.cache.info(signal), { code: "CACHE_PROTOCOL", hint });
  });

  it("hints at a token where there is none", async () => {
    await using rig = await createCachixRig({ token: undefined });
    rig.fake.next("info").reply(401);
    await assert.rejects(rig.cache.info(signal), { hint: /a private one needs a token/ });
  });

  it("hints at the setting host where there is one", async () => {
    await using rig = await createCachixRig();
    rig.fake.next("info").reply(404, { body: "<html>Not Found</html>" });
    await assert.rejects(rig.cache.info(signal), { hint: /the setting host names a Cachix/ });
  });

  it("accepts any 2xx and JSON of any content type", async () => {
    await using rig = await createCachixRig();
    rig.fake.next("info").handle((_request, serve) => {
      const body = JSON.stringify(serve().body);
      return { status: 203, body, headers: { "content-type": "text/plain" } };
    });
    assert.equal((await rig.cache.info(signal)).writable, true);
  });

  it("refuses an answer that is not the one documented", async () => {
    await using rig = await createCachixRig();
    const good = { uri: "https://a", isPublic: true, publicSigningKeys: [], permission: "Read" };
    const bad: readonly unknown[] = [
      "",
      "<html>Welcome</html>",
      "[]",
      "null",
      { ...good, uri: 5 },
      { ...good, uri: "file:///etc/passwd" },
      { ...good, uri: "https://" },
      { ...good, isPublic: "yes" },
      { ...good, publicSigningKeys: [1] },
      { ...good, permission: "Owner" },
      { ...good, publicSigningKeys: ["x".repeat(5000)] },
      { ...good, publicSigningKeys: Array.from({ length: 1001 }, () => "x") },
    ];
    for (const body of bad) {
      rig.fake.next("info").reply(200, { body });
      await assert.rejects(
        rig.cache.info(signal),
        { code: "CACHE_PROTOCOL", message: /^.{1,300}$/ },
        JSON.stringify(body).slice(0, 80),
      );
    }
  });

  it("repeats through 502 HTML and a problem document, and shows no page when it gives up", async () => {
    await using rig = await createCachixRig();
    rig.fake.next("info").reply(502, { body: "<html>Bad Gateway</html>" });
    rig.fake.next("info").reply(503, {
      headers: { "content-type": "application/problem+json" },
      body: '{"retry_after": 12}',
    });
    rig.fake.next("info").reply(429, { headers: { "retry-after": "2" } });
    await rig.cache.info(signal);
    assert.deepEqual(rig.clock.sleeps, [500, 12_000, 2000]);
    for (let count = 0; count < 10; count++) {
      rig.fake.next("info").reply(502, { body: "<html>Bad Gateway</html>" });
    }
    await assert.rejects(rig.cache.info(signal), {
      code: "CACHE_UNAVAILABLE",
      message: /received 502: a page of HTML$/,
    });
  });

  it("gives up by itself when answers take minutes", async () => {
    const timeouts = { ...DEFAULT_TIMEOUTS, answerMs: 10 };
    await using rig = await createCachixRig({ timeouts });
    const releases = Array.from({ length: 10 }, () => rig.fake.next("info").hold());
    await assert.rejects(rig.cache.info(signal), { code: "NETWORK", message: /no answer came/ });
    for (const release of releases) release();
  });

  it("keeps a path of the host as prefix", async () => {
    await using rig = await createCachixRig();
    const host = `${rig.fake.url}/prefix/`;
    const cache = createCachixCache({ name: "p", cacheName: "a.b", host, env: {} });
    rig.fake.next("unknown").reply(401);
    await assert.rejects(cache.info(signal), { code: "CACHE_NOT_FOUND" });
    assert.equal(rig.fake.of("unknown")[0]?.target, "/prefix/api/v1/cache/a.b");
    await cache[Symbol.asyncDispose]();
  });
});

describe("info() of a server that stays silent", () => {
  it("gives up, and says so", async () => {
    await using rig = await createCachixRig({ firstContactMs: 50 });
    const release = rig.fake.next("info").hold();
    await assert.rejects(rig.cache.info(rig.signal), {
      code: "NETWORK",
      message: /no complete answer within 0\.05 s$/,
    });
    release();
  });
});

describe("missing() of a Cachix cache", () => {
  it("sends bare hash parts, each once", async () => {
    await using rig = await createCachixRig();
    const other = hashPartOf(sampleUpload({ name: "other" }).storePath);
    assert.deepEqual(await rig.cache.missing([hash, other, hash], signal), new Set([hash, other]));
    assert.equal(rig.fake.of("missing")[0]?.body.toString(), JSON.stringify([hash, other]));
  });

  it("sends nothing for nothing", async () => {
    await using rig = await createCachixRig();
    await rig.cache.missing([], signal);
    assert.equal(rig.fake.requests.length, 0);
  });

  it("asks for at most 32 768 at once and joins the answers", async () => {
    await using rig = await createCachixRig();
    const many = Array.from({ length: 2 * 32_768 + 1 }, (_, index) =>
      parseHashPart(index.toString(10).padStart(32, "0")),
    );
    const present = many[40_000] ?? hash;
    rig.fake.service.upstream.add(present);
    const missing = await rig.cache.missing(many, signal);
    assert.equal(missing.size, many.length - 1);
    assert.equal(missing.has(present), false);
    const sizes = rig.fake.of("missing").map(({ body }) => JSON.parse(body.toString()).length);
    assert.deepEqual(sizes, [32_768, 32_768, 1]);
  });

  it("ignores hashes that it did not ask for and those named twice", async () => {
    await using rig = await createCachixRig();
    rig.fake.next("missing").reply(200, { body: [hash, hash, "x", "z".repeat(32)] });
    assert.deepEqual(await rig.cache.missing([hash], signal), new Set([hash]));
  });

  it("stops at a refusal, which the service words as a name that does not exist", async () => {
    await using rig = await createCachixRig();
    rig.fake.service.token = "another";
    await assert.rejects(rig.cache.missing([hash], signal), {
      code: "CACHE_NOT_FOUND",
      message: /^Cannot ask cache "mine" which paths it lacks: expected status 200, received 401: /,
    });
    assert.equal(rig.fake.requests.length, 1);
  });

  it("tells a token that was revoked meanwhile from a wrong name", async () => {
    await using rig = await createCachixRig();
    await rig.cache.missing([hash], signal);
    rig.fake.service.token = "another";
    await assert.rejects(rig.cache.missing([hash], signal), { code: "CACHE_REFUSED" });
  });

  it("tells that the cache does not exist", async () => {
    await using rig = await createCachixRig();
    rig.fake.next("missing").reply(404);
    await assert.rejects(rig.cache.missing([hash], signal), { code: "CACHE_NOT_FOUND" });
  });

  it("refuses anything but a list of texts", async () => {
    await using rig = await createCachixRig();
    for (const body of [{}, [1], "[", [["a"]]]) {
      rig.fake.next("missing").reply(200, { body });
      await assert.rejects(rig.cache.missing([hash], signal), { code: "CACHE_PROTOCOL" });
    }
  });

  it("has room for the whole answer but not for one without end", async () => {
    await using rig = await createCachixRig();
    rig.fake.next("missing").reply(200, { body: `["${"x".repeat(9_000_000)}"]` });
    await assert.rejects(rig.cache.missing([hash], signal), { code: "CACHE_PROTOCOL" });
  });
});

describe("registerKey() and pin() of a Cachix cache", () => {
  const bare = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=";

  it("registers the bare key", async () => {
    await using rig = await createCachixRig();
    await rig.cache.registerKey?.(`acme.cachix.org-1:${bare}`, signal);
    await rig.cache.registerKey?.(bare, signal);
    assert.deepEqual(rig.fake.service.registeredKeys, [bare, bare]);
    assert.equal(rig.fake.of("key")[0]?.body.toString(), `{"publicKey":"${bare}"}`);
  });

  it("registers nothing but a key of 32 bytes", async () => {
    await using rig = await createCachixRig();
    for (const key of ["", "name:", "name:AAAA", `${bare}${bare}`, `a:b:${bare}`]) {
      await assert.rejects(async () => rig.cache.registerKey?.(key, signal), {
        code: "KEY_INVALID",
      });
    }
    assert.equal(rig.fake.requests.length, 0);
  });

  it("spells a pin as the service wants it", async () => {
    await using rig = await createCachixRig();
    await rig.push(sample);
    const { storePath } = sample;
    const keeps = [
      [undefined, null],
      [{ days: 30 }, { tag: "Days", contents: 30 }],
      [{ revisions: 5 }, { tag: "Revisions", contents: 5 }],
      ["forever", { tag: "Forever" }],
    ] as const;
    for (const [keep, expected] of keeps) {
      const request = { name: "release", storePath, ...(keep && { keep }) };
      await rig.cache.pins?.set(request, signal);
      const sent: unknown = JSON.parse(rig.fake.of("pin").at(-1)?.body.toString() ?? "");
      assert.deepEqual(sent, { name: "release", storePath, artifacts: [], keep: expected });
    }
    await rig.cache.pins?.set({ name: "with", storePath, artifacts: ["bin/app"] }, signal);
    assert.deepEqual(rig.fake.service.pins.at(-1)?.artifacts, ["bin/app"]);
  });

  it("lists what each pin holds now", async () => {
    await using rig = await createCachixRig();
    await rig.push(sample);
    await rig.cache.pins?.set({ name: "x", storePath: sample.storePath }, signal);
    assert.deepEqual(await rig.cache.pins?.list(signal), new Map([["x", sample.storePath]]));
    rig.fake.next("list-pins").reply(403);
    await assert.rejects(async () => rig.cache.pins?.list(signal), { code: "CACHE_REFUSED" });
  });

  it("gives up soon on a list of pins from a host that does not answer", async () => {
    await using rig = await createCachixRig();
    for (let count = 0; count < 10; count++) rig.fake.next("list-pins").cut();
    await assert.rejects(async () => rig.cache.pins?.list(signal), { code: "NETWORK" });
    assert.deepEqual(rig.clock.sleeps, [500, 1000, 2000]);
  });

  it("reports a path that the cache does not have", async () => {
    await using rig = await createCachixRig();
    const { storePath } = sampleUpload({ name: "absent" });
    await assert.rejects(async () => rig.cache.pins?.set({ name: "x", storePath }, signal), {
      code: "UPLOAD_REJECTED",
      message: /^Cannot pin "x" in cache "mine": expected status 200, received 404: /,
      hint: `Push the path first: handpick push ${storePath}.`,
    });
  });

  it("pins once when the answer is lost", async () => {
    for (const lose of ["cut", "524"]) {
      await using rig = await createCachixRig();
      await rig.push(sample);
      const script = rig.fake.next("pin");
      if (lose === "cut") script.cut({ takeEffect: true });
      else script.reply(524, { takeEffect: true });
      await rig.cache.pins?.set({ name: "x", storePath: sample.storePath }, signal);
      assert.equal(rig.fake.of("pin").length, 1);
      assert.equal(rig.fake.of("list-pins").length, 1);
      assert.equal(rig.fake.service.pins.length, 1);
    }
  });

  it("pins again when the list shows an older path under the name, or no list is to be had", async () => {
    await using rig = await createCachixRig();
    const older = sampleUpload({ name: "older" });
    await rig.push(older);
    await rig.push(sample);
    await rig.cache.pins?.set({ name: "x", storePath: older.storePath }, signal);
    rig.fake.next("pin").cut();
    await rig.cache.pins?.set({ name: "x", storePath: sample.storePath }, signal);
    assert.equal(rig.fake.service.pins.at(-1)?.storePath, sample.storePath);
    rig.fake.next("pin").cut();
    rig.fake.next("list-pins").reply(405);
    await rig.cache.pins?.set({ name: "y", storePath: sample.storePath }, signal);
    assert.equal(rig.fake.service.pins.at(-1)?.name, "y");
  });
});

describe("a Cachix cache and what it cannot do", () => {
  it("refuses to upload without compression", async () => {
    await using rig = await createCachixRig();
    const request = { ...sample.request, compression: "none" } as const;
    await assert.rejects(rig.cache.beginUpload(request, signal), { code: "CONFIG_INVALID" });
  });

  it("refuses a host that is no URL of the web, without showing a password", () => {
    const hosts = [
      "cachix.org",
      "ftp://cachix.org",
      "https://u:secret@h",
      "https://h/?a",
      "https://h/#a",
      "",
    ];
    for (const host of hosts) {
      assert.throws(() => createCachixCache({ name: "mine", cacheName: "a", host, env: {} }), {
        code: "CACHE_URL_UNSUPPORTED",
        message: /^(?!.*secret)/,
      });
    }
  });
});
