import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";

import { createAtticRig } from "../../../test/attic-rig.ts";
import { sampleUpload } from "../../../test/sample-upload.ts";
import { encodeBase32 } from "../../nix/base32.ts";
import { type HashPart, hashPartOf, parseHashPart, parseStorePath } from "../../nix/store-path.ts";
import { Secret } from "../../secret.ts";

const { signal } = new AbortController();
const lib = sampleUpload({ name: "lib", compression: "none" });
const app = sampleUpload({
  name: "app",
  compression: "none",
  references: [lib.storePath, sampleUpload({ name: "app" }).storePath],
  info: {
    deriver: parseStorePath(`/nix/store/${"d".repeat(32)}-app.drv`),
    contentAddress: "fixed:r:sha256:1111111111111111111111111111111111111111111111111111",
  },
});
const hash = hashPartOf(app.storePath);

const DESCRIPTION =
  '{"cache":"acme","store_path_hash":"68qfm3aav2ji1malbihlnis7mvfcwwm1",' +
  '"store_path":"/nix/store/68qfm3aav2ji1malbihlnis7mvfcwwm1-app",' +
  '"references":["68qfm3aav2ji1malbihlnis7mvfcwwm1-app","v137y81wxx44zx8nln1b4xhj75bs7dbn-lib"],' +
  '"system":null,"deriver":"dddddddddddddddddddddddddddddddd-app.drv","sigs":[],' +
  '"ca":"fixed:r:sha256:1111111111111111111111111111111111111111111111111111",' +
  '"nar_hash":"sha256:b45d6faaa302f252720bbbb78840fb0b31f25b80d8e988c69907c11588dbe3a7","nar_size":136}';
const READING = { accept: "application/json", authorization: "Bearer fake-token" };
const ASKING = { ...READING, "content-type": "application/json" };
const GOLDEN = [
  { call: "GET /_api/v1/cache-config/acme", headers: READING, body: "" },
  {
    call: "POST /_api/v1/get-missing-paths",
    headers: { ...ASKING, "content-length": "39" },
    body: '{"cache":"acme","store_path_hashes":[]}',
  },
  {
    call: "POST /_api/v1/get-missing-paths",
    headers: { ...ASKING, "content-length": "73" },
    body: '{"cache":"acme","store_path_hashes":["68qfm3aav2ji1malbihlnis7mvfcwwm1"]}',
  },
  {
    call: "PUT /_api/v1/upload-path",
    headers: {
      ...READING,
      "content-type": "application/octet-stream",
      "content-length": "613",
      "x-attic-nar-info-preamble-size": "477",
    },
    body: `${DESCRIPTION}${app.file.toString("latin1")}`,
  },
];

function hashParts(count: number): HashPart[] {
  return Array.from({ length: count }, (_, index) => {
    const digest = createHash("sha256").update(`${index}`).digest();
    return parseHashPart(encodeBase32(digest.subarray(0, 20)));
  });
}

describe("a cache of an Attic server, as asked", () => {
  for (const [way, keptBytes] of [
    ["whole", undefined],
    ["streamed", 0],
  ] as const) {
    it(`gets these requests with these headers and bodies, a NAR ${way}`, async () => {
      await using rig = await createAtticRig({ keptBytes });
      rig.fake.service.upstream.add(hashPartOf(lib.storePath));
      await rig.cache.info(signal);
      await rig.cache.missing([hash], signal);
      await rig.push(app);
      const requests = rig.fake.requests.map(({ method, target, headers, body }) => {
        const { host: _, connection, "user-agent": agent, ...rest } = headers;
        assert.deepEqual([connection, agent], ["keep-alive", "handpick/dev"]);
        return { call: `${method} ${target}`, headers: rest, body: body.toString("latin1") };
      });
      assert.deepEqual(requests, GOLDEN);
    });
  }

  it("is asked below the path of its server", async () => {
    await using rig = await createAtticRig();
    const host = `${rig.fake.url}/attic/`;
    await using below = await createAtticRig({ host });
    await assert.rejects(below.cache.info(signal), { code: "UPLOAD_REJECTED" });
    assert.equal(rig.fake.requests[0]?.target, "/attic/_api/v1/cache-config/acme");
    rig.fake.service.violations.length = 0;
  });

  it("is asked for 5 000 paths at once, and for none twice", async () => {
    await using rig = await createAtticRig();
    const asked = hashParts(12_001);
    assert.deepEqual(await rig.cache.missing([...asked, ...asked], signal), new Set(asked));
    const sizes = rig.fake
      .of("missing")
      .map(({ body }) => JSON.parse(body.toString()).store_path_hashes.length);
    assert.deepEqual(sizes, [5_000, 5_000, 2_001]);
  });

  it("counts as lacking nothing that it was not asked for", async () => {
    await using rig = await createAtticRig();
    const [one, other] = hashParts(2);
    rig.fake.next("missing").reply(200, { body: { missing_paths: [one, other, "x"] } });
    assert.deepEqual(await rig.cache.missing([one as HashPart], signal), new Set([one]));
  });
});

describe("what an Attic server says of a cache", () => {
  it("has the key that it signs with, its store and its priority", async () => {
    await using rig = await createAtticRig();
    const { service, url } = rig.fake;
    service.storeDir = "/gnu/store/";
    service.isPublic = false;
    assert.deepEqual(await rig.cache.info(signal), {
      readUrl: `${url}/acme`,
      storeDir: "/gnu/store",
      publicKeys: [service.publicKey],
      isPublic: false,
      writable: true,
      preferredCompression: "none",
      priority: 40,
    });
  });

  it("names another address for readers, where no token goes", async () => {
    await using rig = await createAtticRig();
    await using other = await createAtticRig();
    rig.fake.service.endpoint = `${other.fake.url}/`;
    rig.fake.service.upstream.add(hashPartOf(lib.storePath));
    const { readUrl } = await rig.cache.info(signal);
    assert.equal(readUrl, `${other.fake.url}/acme`);
    await rig.cache.missing([hash], signal);
    await rig.push(app);
    assert.deepEqual(other.fake.requests, []);
  });

  it("is read at our own address where it repeats our name, or names one with a password", async () => {
    for (const announce of [
      (url: string) => url.replace("http:", "https:"),
      () => "https://me:secret@cache.example/",
    ]) {
      await using rig = await createAtticRig();
      rig.fake.service.endpoint = `${announce(rig.fake.url)}/`;
      assert.equal((await rig.cache.info(signal)).readUrl, `${rig.fake.url}/acme`);
    }
  });

  it("proves nothing of the token, so what only a pusher may ask is asked besides", async () => {
    await using rig = await createAtticRig();
    rig.fake.service.mayPush = false;
    assert.equal((await rig.cache.info(signal)).writable, false);
    await using expired = await createAtticRig({ token: new Secret("expired") });
    assert.equal((await expired.cache.info(signal)).writable, false);
    await using none = await createAtticRig({ token: undefined });
    assert.equal((await none.cache.info(signal)).writable, false);
  });

  it("is not asked about the token that was answered as a pusher", async () => {
    await using rig = await createAtticRig();
    await rig.cache.missing([], signal);
    await rig.cache.missing([hash], signal);
    assert.equal((await rig.cache.info(signal)).writable, true);
    assert.equal(rig.fake.of("missing").length, 1);
  });
});

describe("the errors of an Attic server", () => {
  it("tell a token that may not push from a cache that is hidden or absent", async () => {
    await using rig = await createAtticRig({ token: new Secret("expired") });
    const asking = (): Promise<unknown> => rig.cache.missing([hash], signal);
    await assert.rejects(asking, { code: "CACHE_REFUSED", hint: /expired counts as none/ });
    rig.fake.service.isPublic = false;
    await assert.rejects(asking, {
      code: "CACHE_REFUSED",
      hint: /absent and for one that it hides/,
    });
    await assert.rejects(rig.cache.info(signal), { code: "CACHE_REFUSED" });
    await using other = await createAtticRig({ cacheName: "other" });
    await assert.rejects(other.cache.missing([hash], signal), { code: "CACHE_NOT_FOUND" });
    await assert.rejects(other.cache.info(signal), { code: "CACHE_NOT_FOUND" });
  });

  it("are told once they stay: 429 and 5xx are asked again", async () => {
    await using rig = await createAtticRig();
    for (const status of [429, 500, 503]) rig.fake.next("missing").reply(status);
    assert.deepEqual(await rig.cache.missing([hash], signal), new Set([hash]));
    for (let n = 0; n < 30; n += 1) rig.fake.next("missing").reply(502);
    await assert.rejects(rig.cache.missing([hash], signal), { code: "CACHE_UNAVAILABLE" });
  });

  it("are told as pages where a page answers", async () => {
    await using rig = await createAtticRig();
    const page = { headers: { "content-type": "text/html" }, body: "<html>log in</html>" };
    rig.fake.next("config").reply(200, page);
    await assert.rejects(rig.cache.info(signal), {
      code: "CACHE_PROTOCOL",
      message: /expected JSON, received a page of HTML$/,
    });
    rig.fake.next("config").reply(403, page);
    await assert.rejects(rig.cache.info(signal), { code: "CACHE_REFUSED", hint: /login page/ });
    rig.fake.next("missing").reply(403, page);
    await assert.rejects(rig.cache.info(signal), { code: "CACHE_REFUSED", hint: /login page/ });
  });

  it("show nothing of the token, which an answer may repeat", async () => {
    const token = "a-long-token-that-nobody-may-see";
    await using rig = await createAtticRig({ token: new Secret(token) });
    const body = { code: 403, error: token, message: token };
    rig.fake.next("missing").reply(403, { body });
    await assert.rejects(rig.cache.missing([hash], signal), (error: Error) => {
      assert.match(error.message, /received 403/);
      assert.doesNotMatch(error.message, /nobody/);
      return true;
    });
  });

  it("show soon where a server accepts and stays silent", async () => {
    await using rig = await createAtticRig({ firstContactMs: 50 });
    rig.fake.next("config").hold();
    await assert.rejects(rig.cache.info(signal), {
      code: "NETWORK",
      message: /no complete answer within 0\.05 s$/,
      hint: /an Attic server/,
    });
  });
});
