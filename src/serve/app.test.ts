import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, describe, it } from "node:test";

import * as fc from "fast-check";
import { Hono } from "hono";

import { SLOW_FUZZ_RUNS } from "../../test/fuzz.ts";
import {
  sample,
  samplePath,
  ServeClient,
  startTestServer,
  temporaryFolder,
  type TestServer,
} from "../../test/serve-client.ts";
import { hashPartOf, type StorePath } from "../nix/store-path.ts";

async function statusOf(url: string, headers: Record<string, string> = {}): Promise<number> {
  const response = await fetch(url, { headers });
  await response.arrayBuffer();
  return response.status;
}
const basic = (token: string | undefined): Record<string, string> => ({
  authorization: `Basic ${Buffer.from(`:${token ?? ""}`).toString("base64")}`,
});

describe("a public cache", () => {
  let rig: TestServer;
  const lib = sample("lib", { contents: "0123456789" });
  const app = sample("app", { references: [lib.storePath] });
  before(async () => {
    rig = await startTestServer();
    await rig.client.push(lib);
    await rig.client.push(app);
  });
  after(() => rig[Symbol.asyncDispose]());

  it("answers what it is, with what the credentials are worth", async () => {
    const expected = {
      name: "acme",
      uri: rig.server.url,
      isPublic: true,
      publicSigningKeys: rig.server.publicKeys,
      githubUsername: "",
      preferredCompressionMethod: "ZSTD",
    };
    const response = await rig.client.get("");
    assert.match(response.headers.get("content-type") ?? "", /^application\/json/);
    assert.deepEqual(await response.json(), { ...expected, permission: "Write" });
    const anonymous: unknown = await (await rig.anonymous.get("")).json();
    assert.deepEqual(anonymous, { ...expected, permission: "Read" });
  });

  it("takes an empty bearer for nobody and refuses a wrong token everywhere", async () => {
    assert.equal(await statusOf(rig.client.api, { authorization: "Bearer " }), 200);
    for (const path of ["/nix-cache-info", "/api/v1/cache/acme"]) {
      assert.equal(await statusOf(rig.server.url + path, { authorization: "Bearer x" }), 401);
      assert.equal(await statusOf(rig.server.url + path, basic(rig.client.token)), 200);
    }
  });

  it("answers 401 for a cache of another name, as if it could exist", async () => {
    const other = new ServeClient(rig.server.url, "other", rig.client.token);
    const response = await other.get("");
    assert.equal(response.status, 401);
    assert.equal(await response.text(), "The cache does not exist or you have no access to it");
    assert.equal((await other.post("/multipart-nar?compression=zst")).status, 401);
  });

  it("answers 404 with a sentence to what it does not have", async () => {
    const paths = ["/", "/x", "/nar/x", "/nar/..%2f..%2ftoken", "/api/v1/user"];
    const narInfos = [`/${"e".repeat(32)}.narinfo`, "/x.narinfo", `/${"a".repeat(32)}.narinfo`];
    const calls = ["/api/v1/cache/acme/x", "/api/v1/cache/acme/serve/x"];
    for (const path of [...paths, ...narInfos, ...calls, `/nar/${"a".repeat(64)}.nar.zst`]) {
      const response = await fetch(rig.server.url + path);
      assert.ok([400, 404].includes(response.status), path);
      assert.match(await response.text(), /^["A-Z].{5,200}$/);
    }
    assert.equal((await fetch(rig.server.url, { method: "DELETE" })).status, 404);
  });

  for (const prefix of ["", "/api/v1/cache/acme"]) {
    describe(`read at "${prefix}/"`, () => {
      it("has a nix-cache-info", async () => {
        const response = await fetch(`${rig.server.url}${prefix}/nix-cache-info`);
        assert.equal(
          await response.text(),
          "StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 41\n",
        );
        const head = await fetch(`${rig.server.url}${prefix}/nix-cache-info`, { method: "HEAD" });
        assert.equal(head.status, 200);
      });

      it("has narinfos, by GET and HEAD, with an ETag", async () => {
        const url = `${rig.server.url}${prefix}/${hashPartOf(app.storePath)}.narinfo`;
        const response = await fetch(url);
        const text = await response.text();
        assert.equal(response.headers.get("content-type"), "text/x-nix-narinfo");
        assert.ok(text.startsWith(`StorePath: ${app.storePath}\n`));
        const head = await fetch(url, { method: "HEAD" });
        assert.equal(head.status, 200);
        assert.equal(head.headers.get("content-length"), String(text.length));
        const etag = response.headers.get("etag") ?? "";
        for (const value of [etag, `"x", W/${etag}`, "*"]) {
          assert.equal(await statusOf(url, { "if-none-match": value }), 304);
        }
        assert.equal(await statusOf(url, { "if-none-match": '"x"' }), 200);
      });

      it("has NARs, whole and in parts", async () => {
        const file = `${String(lib.narInfoCreate["cFileHash"])}.nar.zst`;
        const url = `${rig.server.url}${prefix}/nar/${file}`;
        const whole = await fetch(url);
        const etag = whole.headers.get("etag") ?? "";
        assert.deepEqual(Buffer.from(await whole.arrayBuffer()), lib.file);
        const head = await fetch(url, { method: "HEAD" });
        assert.equal(head.headers.get("content-length"), String(lib.file.length));
        assert.equal(head.headers.get("accept-ranges"), "bytes");
        const part = await fetch(url, { headers: { range: "bytes=5-8", "if-range": etag } });
        assert.equal(part.status, 206);
        assert.equal(part.headers.get("content-range"), `bytes 5-8/${lib.file.length}`);
        assert.deepEqual(Buffer.from(await part.arrayBuffer()), lib.file.subarray(5, 9));
        const changed = { range: "bytes=5-8", "if-range": '"other"' };
        assert.equal(await statusOf(url, changed), 200);
        const outside = await fetch(url, { headers: { range: "bytes=9999-" } });
        assert.equal(outside.status, 416);
        assert.equal(outside.headers.get("content-range"), `bytes */${lib.file.length}`);
        assert.equal(await statusOf(url, { "if-none-match": etag }), 304);
      });
    });
  }

  it("hides a narinfo until the whole closure of its path is there", async () => {
    const bottom = sample("bottom");
    const middle = sample("middle", { references: [bottom.storePath] });
    const top = sample("top", { references: [middle.storePath, samplePath("top")] });
    const seen = async (): Promise<number[]> =>
      Promise.all(
        [top, middle, bottom].map(async ({ storePath }) => {
          const { status } = await rig.client.narInfo(storePath);
          const url = `${rig.client.api}/${hashPartOf(storePath)}.narinfo`;
          assert.equal((await fetch(url, { method: "HEAD" })).status, status);
          return status;
        }),
      );
    await rig.client.push(top);
    assert.deepEqual(await seen(), [404, 404, 404]);
    assert.deepEqual(await rig.client.missing([hashPartOf(top.storePath)]), []);
    await rig.client.push(bottom);
    assert.deepEqual(await seen(), [404, 404, 200]);
    await rig.client.push(middle);
    assert.deepEqual(await seen(), [200, 200, 200]);
  });

  describe("POST narinfo", () => {
    const here = hashPartOf(lib.storePath);
    const gone = hashPartOf(samplePath("gone"));

    it("answers the missing subset, to anybody", async () => {
      assert.deepEqual(await rig.anonymous.missing([here, gone]), [gone]);
      assert.deepEqual(await rig.client.missing([]), []);
    });

    it("reports a path that is here as missing for each time it is repeated", async () => {
      assert.deepEqual(await rig.client.missing([here, here, here]), [here, here]);
      assert.deepEqual(await rig.client.missing([gone, gone]), [gone]);
    });

    it("takes 32 768 hashes", async () => {
      const hashes = Array.from({ length: 32_768 }, (_, i) => hashPartOf(samplePath(`${i}`)));
      assert.equal((await rig.client.missing(hashes)).length, hashes.length);
    });

    it("answers 400 to anything but an array of hashes", async () => {
      for (const body of [
        null,
        {},
        "x",
        [1],
        [`${here}.narinfo`],
        ["e".repeat(32)],
        [here, null],
      ]) {
        assert.equal((await rig.client.post("/narinfo", body)).status, 400);
      }
    });
  });

  describe("POST pin", () => {
    const pin = (body: Record<string, unknown>): Promise<Response> =>
      rig.client.post("/pin", {
        name: "release",
        storePath: app.storePath,
        artifacts: [],
        keep: null,
        ...body,
      });

    it("keeps the latest revision of each name", async () => {
      assert.equal((await pin({})).status, 200);
      const keep = { tag: "Revisions", contents: 5 };
      assert.equal(
        (await pin({ storePath: lib.storePath, artifacts: ["bin/x"], keep })).status,
        200,
      );
      assert.equal((await pin({ name: "älter", keep: { tag: "Forever" } })).status, 200);
      const pins = (await (await rig.anonymous.get("/pin")).json()) as Record<string, unknown>[];
      const [first, second] = pins;
      assert.equal(pins.length, 2);
      assert.equal(first?.["name"], "release");
      assert.deepEqual(first["keep"], keep);
      const { storePath, artifacts, revision } = first["lastRevision"] as Record<string, unknown>;
      assert.deepEqual([storePath, artifacts, revision], [lib.storePath, ["bin/x"], 2]);
      assert.deepEqual(second?.["keep"], { tag: "Forever" });
    });

    it("takes what is left out for null", async () => {
      const response = await rig.client.post("/pin", { name: "short", storePath: app.storePath });
      assert.equal(response.status, 200);
    });

    it("answers 404 to a path that is not here", async () => {
      assert.equal((await pin({ storePath: samplePath("gone") })).status, 404);
      const otherName = `${app.storePath}-2` as StorePath;
      assert.equal((await pin({ storePath: otherName })).status, 404);
    });

    it("answers 400 to what is not a pin", async () => {
      const wrong = [
        { name: "" },
        { name: "a\nb" },
        { name: "x".repeat(300) },
        { storePath: "hello" },
        { artifacts: "x" },
        { keep: { tag: "Days" } },
        { keep: { tag: "Days", contents: 0 } },
        { keep: { tag: "Weeks", contents: 1 } },
      ];
      for (const body of wrong) assert.equal((await pin(body)).status, 400, JSON.stringify(body));
    });
  });

  it("never fails, whatever is asked of it", async () => {
    const segment = fc.oneof(
      fc.constantFrom("api", "v1", "cache", "acme", "nar", "upload", "multipart-nar", "pin", "key"),
      fc.constantFrom("..", "%2e%2e", "%00", "narinfo", "complete", "abort", "nix-cache-info"),
      fc.webSegment(),
    );
    const ask = fc.record({
      base: fc.constantFrom("/", "/api/v1/cache/acme/", "/api/v1/cache/acme/multipart-nar/"),
      path: fc.array(segment, { maxLength: 4 }),
      query: fc.webQueryParameters(),
      method: fc.constantFrom("GET", "HEAD", "POST", "PUT", "DELETE"),
      body: fc.oneof(fc.json(), fc.string()),
      range: fc.stringMatching(/^bytes=\d{0,3}-\d{0,3}$/),
    });
    await fc.assert(
      fc.asyncProperty(ask, async ({ base, path, query, method, body, range }) => {
        const response = await fetch(`${rig.server.url}${base}${path.join("/")}?${query}`, {
          method,
          headers: { authorization: `Bearer ${rig.client.token}`, range },
          ...(method === "GET" || method === "HEAD" ? {} : { body }),
        });
        assert.ok(response.status < 500, await response.text());
      }),
      { numRuns: SLOW_FUZZ_RUNS },
    );
    assert.deepEqual(
      rig.lines.filter((line) => line.startsWith("Cannot answer")),
      [],
    );
  });

  it("logs requests without tokens and signatures", async () => {
    await rig.client.push(sample("logged"));
    await fetch(`${rig.server.url}/${"x".repeat(2000)}?${rig.client.token}`);
    await fetch(`${rig.server.url}/%0aGET%1b[31m`);
    const text = rig.lines.join("\n");
    assert.match(text, /^GET \/%0aGET%1b\[31m 404 \d+ ms$/m);
    assert.match(text, /^PUT \/upload\/[0-9a-f-]+\/1 200 \d+ ms$/m);
    assert.ok(!text.includes(rig.client.token ?? "?"));
    assert.ok(!text.includes("signature"));
    assert.ok(rig.lines.every((line) => line.length < 300));
  });
});

describe("a private cache", () => {
  it("needs the token for everything but the part URLs", async () => {
    await using rig = await startTestServer({ isPrivate: true });
    const pushed = sample("secret");
    await rig.client.push(pushed);
    const { url } = rig.server;
    const narInfo = `${url}/${hashPartOf(pushed.storePath)}.narinfo`;
    const nar = `${url}/nar/${String(pushed.narInfoCreate["cFileHash"])}.nar.zst`;
    const all = [`${url}/nix-cache-info`, narInfo, nar, rig.client.api, `${rig.client.api}/pin`];
    for (const each of all) {
      assert.equal(await statusOf(each), 401);
      assert.equal(await statusOf(each, { authorization: "Bearer " }), 401);
      assert.equal(await statusOf(each, { authorization: "Bearer x" }), 401);
      assert.equal(await statusOf(each, { authorization: `Bearer ${rig.client.token}` }), 200);
      assert.equal(await statusOf(each, basic(rig.client.token)), 200);
    }
    assert.equal((await rig.anonymous.post("/narinfo", [])).status, 401);
    const info = (await (await rig.client.get("")).json()) as Record<string, unknown>;
    assert.equal(info["isPublic"], false);
  });
});

describe("a cache with upstreams", () => {
  it("counts what an upstream serves as present, and asks it once", async () => {
    await using folder = await temporaryFolder();
    const asked: string[] = [];
    const wrap = (app: Hono): Hono => {
      const outer = new Hono();
      outer.use(async (c, next) => {
        asked.push(`${c.req.method} ${c.req.path}`);
        await next();
      });
      outer.route("/", app);
      return outer;
    };
    await using upstream = await startTestServer({}, { wrap });
    const base = sample("base");
    await upstream.client.push(base);
    await using rig = await startTestServer({
      dir: folder.path,
      upstreams: [`${upstream.server.url}/`],
    });
    const needsBase = sample("needs-base", { references: [base.storePath] });
    const needsNothing = sample("needs-gone", { references: [samplePath("gone")] });
    await rig.client.push(needsBase);
    await rig.client.push(needsNothing);
    asked.length = 0;
    assert.equal((await rig.client.narInfo(needsBase.storePath)).status, 200);
    assert.equal((await rig.client.narInfo(needsNothing.storePath)).status, 404);
    const gone = hashPartOf(samplePath("gone"));
    assert.deepEqual(await rig.client.missing([hashPartOf(base.storePath), gone]), [gone]);
    assert.equal((await rig.client.narInfo(base.storePath)).status, 404);
    assert.deepEqual(asked, [`GET /${hashPartOf(base.storePath)}.narinfo`, `GET /${gone}.narinfo`]);
  });

  it("takes nothing but its narinfo for a path", async () => {
    const hashes = ["one", "two", "three", "four"].map((name) => hashPartOf(samplePath(name)));
    const answers = ["", "<html>", "{}", null];
    const login = new Hono().get("*", (c) => {
      const answer = answers[hashes.findIndex((hash) => c.req.path.includes(hash))];
      return typeof answer === "string" ? c.html(answer) : c.body(null, 204);
    });
    await using upstream = await startTestServer({}, { wrap: () => login });
    await using rig = await startTestServer({ upstreams: [upstream.server.url] });
    assert.deepEqual(await rig.client.missing(hashes), hashes);
    assert.deepEqual(
      rig.lines.filter((line) => line.startsWith("Upstream ")),
      [],
    );
  });

  it("asks no more once the client is gone, and lets another take its turn meanwhile", async () => {
    const many = Array.from({ length: 10_000 }, (_, i) => hashPartOf(samplePath(`many-${i}`)));
    const one = hashPartOf(samplePath("one"));
    const waiting: (() => void)[] = [];
    const [begun, busy] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    let asked = 0;
    let isSilent = false;
    const slow = new Hono().get("*", async (c) => {
      asked += 1;
      if (asked === 100) begun.resolve();
      if (isSilent) {
        await new Promise<void>((resolve) => {
          if (waiting.push(resolve) === 32) busy.resolve();
        });
      }
      return c.text("", 404);
    });
    await using upstream = await startTestServer({}, { wrap: () => slow });
    const gone = new AbortController();
    const ended = Promise.withResolvers<void>();
    const log = (line: string): void => {
      if (/POST .* 400 /.test(line)) ended.resolve();
    };
    await using rig = await startTestServer({ upstreams: [upstream.server.url], log });
    const url = `${rig.server.url}/api/v1/cache/acme/narinfo`;
    const long = fetch(url, { method: "POST", body: JSON.stringify(many), signal: gone.signal });
    await begun.promise;
    assert.deepEqual(await rig.anonymous.missing([one]), [one]);
    assert.ok(asked < many.length / 2);
    isSilent = true;
    await busy.promise;
    gone.abort();
    await assert.rejects(long);
    await ended.promise;
    const before = asked;
    for (const answer of waiting) answer();
    assert.equal(waiting.length, 32);
    assert.deepEqual(await rig.anonymous.missing([one]), [one]);
    assert.equal(asked, before);
  });

  it("asks through the proxy of the environment", async () => {
    const asked: string[] = [];
    const proxy = createServer((incoming, response) => {
      asked.push(incoming.url ?? "");
      response.writeHead(404).end();
    });
    proxy.listen(0, "127.0.0.1");
    await once(proxy, "listening");
    const env = { http_proxy: `127.0.0.1:${(proxy.address() as AddressInfo).port}` };
    const path = hashPartOf(samplePath("far"));
    {
      await using rig = await startTestServer({ upstreams: ["http://cache.invalid/up"], env });
      assert.deepEqual(await rig.client.missing([path]), [path]);
    }
    assert.deepEqual(asked, [`http://cache.invalid/up/${path}.narinfo`]);
    proxy.close();
    await once(proxy, "close");
  });

  it("hides paths while an upstream is away or broken, and says so once a query", async () => {
    let isBroken = true;
    const wrap = (app: Hono): Hono => {
      const outer = new Hono();
      outer.use(async (c, next) => (isBroken ? c.text("broken", 500) : next()));
      outer.route("/", app);
      return outer;
    };
    await using upstream = await startTestServer({}, { wrap });
    isBroken = false;
    const base = sample("base");
    await upstream.client.push(base);
    isBroken = true;
    const upstreams = [upstream.server.url, "http://127.0.0.1:1"];
    await using rig = await startTestServer({ upstreams });
    const hashes = Array.from({ length: 100 }, (_, i) => hashPartOf(samplePath(`${i}`)));
    assert.equal((await rig.client.missing(hashes)).length, 100);
    assert.equal(rig.lines.filter((line) => line.startsWith("Upstream ")).length, 2);
    await rig.client.push(sample("needs-base", { references: [base.storePath] }));
    assert.equal((await rig.client.narInfo(samplePath("needs-base"))).status, 404);
    isBroken = false;
    assert.equal((await rig.client.narInfo(samplePath("needs-base"))).status, 200);
  });
});
