import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";
import { execFileSync } from "node:child_process";

import { generateSecretKey, printPublicKey, publicKeyOf } from "../../src/nix/key.ts";
import { fingerprint, signFingerprint } from "../../src/nix/signature.ts";
import { hashPartOf } from "../../src/nix/store-path.ts";
import { sampleUpload } from "../sample-upload.ts";
import type { SampleUpload } from "../sample-upload.ts";
import { startFakeCachix } from "./cachix.ts";
import type { FakeCachix } from "./cachix.ts";
import type { Json } from "./cachix-checks.ts";

const sample = sampleUpload({ name: "hello" });
const hash = hashPartOf(sample.storePath);

interface Sent {
  readonly headers?: Readonly<Record<string, string>>;
  readonly token?: string;
  readonly method?: string;
  /** Sent as JSON. */
  readonly body?: unknown;
}

/** Speaks to the fake by hand. */
async function call(
  fake: FakeCachix,
  path: string,
  { headers = {}, token = "fake-token", method = "POST", body }: Sent = {},
): Promise<Response> {
  return fetch(`${fake.url}/api/v1/cache/acme${path}`, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}

function post(fake: FakeCachix, path: string, body: unknown): Promise<Response> {
  return call(fake, path, { body });
}

interface Begun {
  readonly path: string;
  readonly query: string;
}

async function begin(fake: FakeCachix, compression = "zst"): Promise<Begun> {
  const answer = await call(fake, `/multipart-nar?compression=${compression}`);
  const { narId, uploadId } = (await answer.json()) as { narId: string; uploadId: string };
  return { path: `/multipart-nar/${narId}`, query: `uploadId=${encodeURIComponent(uploadId)}` };
}

async function put(
  fake: FakeCachix,
  { path, query }: Begun,
  { bytes, headers = {} }: { bytes: Uint8Array<ArrayBuffer>; headers?: Record<string, string> },
): Promise<Response> {
  const contentMD5 = createHash("md5").update(bytes).digest("base64");
  const answer = await post(fake, `${path}?${query}&partNumber=1`, { contentMD5 });
  const { uploadUrl } = (await answer.json()) as { uploadUrl: string };
  const all = { "content-md5": contentMD5, ...headers };
  return fetch(uploadUrl, { method: "PUT", headers: all, body: bytes });
}

function narInfoOf({ request: { info }, file }: SampleUpload): Json {
  return {
    cStoreHash: hash,
    cStoreSuffix: "hello",
    cNarHash: info.narHash,
    cNarSize: info.narSize,
    cFileHash: createHash("sha256").update(file).digest("hex"),
    cFileSize: file.length,
    cReferences: [],
    cDeriver: "unknown-deriver",
    cSig: null,
  };
}

/** Uploads the sample with some of its narinfo or its parts changed; gives the last status. */
async function complete(fake: FakeCachix, changes: Json = {}, parts?: unknown): Promise<number> {
  const begun = await begin(fake);
  const answer = await put(fake, begun, { bytes: new Uint8Array(sample.file) });
  const narInfoCreate = { ...narInfoOf(sample), ...changes };
  const body = {
    parts: parts ?? [{ partNumber: 1, eTag: answer.headers.get("etag") }],
    narInfoCreate,
  };
  return (await post(fake, `${begun.path}/complete?${begun.query}`, body)).status;
}

describe("the fake of Cachix", () => {
  it("takes an upload and is content with it", async () => {
    await using fake = await startFakeCachix();
    assert.equal(await complete(fake), 200);
    assert.equal(fake.service.isVisible(hash), true);
    assert.equal(fake.service.published.get(hash)?.file.equals(sample.file), true);
    assert.deepEqual(fake.violations, []);
    assert.deepEqual(
      fake.requests.map(({ operation }) => operation),
      ["begin", "part-url", "put", "complete"],
    );
  });

  it("has its storage at another origin", async () => {
    await using fake = await startFakeCachix();
    assert.notEqual(new URL(fake.service.storageUrl).origin, new URL(fake.url).origin);
  });

  it("names what is wrong in complete", async () => {
    const unsorted = ["7k3i624w0rfrvcrbbdrw0zrvasywxmz4-b", "1k3i624w0rfrvcrbbdrw0zrvasywxmz4-a"];
    const wrong: readonly [keyof ReturnType<typeof narInfoOf>, unknown][] = [
      ["cStoreHash", "x"],
      ["cStoreSuffix", ""],
      ["cNarHash", sample.request.info.narHash.slice(7)],
      ["cNarSize", 1],
      ["cFileHash", `sha256:${createHash("sha256").update(sample.file).digest("hex")}`],
      ["cFileSize", 0],
      ["cReferences", unsorted],
      ["cReferences", [sample.storePath]],
      ["cDeriver", ""],
      ["cDeriver", null],
      ["cDeriver", `${sample.storePath}.drv`],
      ["cSig", ""],
      ["cSig", "name:AAAA"],
    ];
    for (const [key, value] of wrong) {
      await using fake = await startFakeCachix();
      assert.equal(await complete(fake, { [key]: value }), 400);
      assert.ok(
        fake.violations.every((text) => text.startsWith(`complete: ${key} `)),
        fake.violations.join(),
      );
      assert.ok(fake.violations.length > 0);
      assert.equal(fake.service.published.size, 0);
    }
  });

  it("names keys that do not belong, and parts that were never put", async () => {
    await using fake = await startFakeCachix();
    assert.equal(await complete(fake, { cSystem: "x" }), 400);
    const etag = createHash("md5").update(sample.file).digest("hex");
    for (const parts of [
      [],
      "none",
      [{ partNumber: 1, eTag: etag }],
      [{ partNumber: 2, eTag: "" }],
    ]) {
      assert.equal(await complete(fake, {}, parts), 400);
    }
    assert.match(fake.violations.join("; "), /keys .*no parts.*no parts.*eTag .*part 2/);
  });

  it("checks signatures against the keys that were registered", async () => {
    await using fake = await startFakeCachix();
    const key = generateSecretKey("k");
    const sign = (secret: typeof key): string =>
      signFingerprint(
        fingerprint({ ...sample.request.info, storePath: sample.storePath }),
        secret,
      ).slice(2);
    await post(fake, "/key", { publicKey: printPublicKey(publicKeyOf(key)).slice(2) });
    assert.equal(await complete(fake, { cSig: sign(key) }), 200);
    assert.equal(await complete(fake, { cSig: sign(generateSecretKey("k")) }), 400);
    assert.match(fake.violations.join(), /^complete: cSig /);
  });

  it("refuses a PUT as storage does", async () => {
    await using fake = await startFakeCachix();
    const bytes = new Uint8Array([1, 2, 3]);
    const begun = await begin(fake);
    const status = async (headers: Record<string, string>): Promise<number> =>
      (await put(fake, begun, { bytes, headers })).status;
    assert.equal(await status({ authorization: "Bearer fake-token" }), 400);
    assert.equal(await status({ "content-md5": "1B2M2Y8AsgTpgAmY7PhCfg==" }), 403);
    assert.equal(fake.violations.length, 2);
    const url = `${fake.service.storageUrl}/bucket/none?partNumber=1`;
    assert.equal((await fetch(url, { method: "PUT", body: bytes })).status, 404);
  });

  it("refuses a body that does not fit its MD5, and a part without length", async () => {
    await using fake = await startFakeCachix();
    const begun = await begin(fake);
    const contentMD5 = "1B2M2Y8AsgTpgAmY7PhCfg==";
    const ask = async (): Promise<string> => {
      const answer = await post(fake, `${begun.path}?${begun.query}&partNumber=1`, { contentMD5 });
      return ((await answer.json()) as { uploadUrl: string }).uploadUrl;
    };
    const headers = { "content-md5": contentMD5 };
    const first = await ask();
    const second = await ask();
    assert.equal((await fetch(first, { method: "PUT", headers, body: "x" })).status, 403);
    assert.equal((await fetch(second, { method: "PUT", headers, body: "x" })).status, 400);
    const body = new Blob(["x"]).stream();
    const chunked = { method: "PUT", headers, body, duplex: "half" } as const;
    assert.equal((await fetch(second, chunked)).status, 411);
  });

  it("takes xz, and no other compression", async () => {
    await using fake = await startFakeCachix();
    const begun = await begin(fake, "xz");
    const file = execFileSync("xz", ["-c"], { input: "any bytes" });
    const answer = await put(fake, begun, { bytes: new Uint8Array(file) });
    const body = {
      parts: [{ partNumber: 1, eTag: answer.headers.get("etag") }],
      narInfoCreate: {
        ...narInfoOf(sample),
        cFileHash: createHash("sha256").update(file).digest("hex"),
        cFileSize: file.length,
        cNarSize: 9,
      },
    };
    await post(fake, `${begun.path}/complete?${begun.query}`, body);
    assert.deepEqual(fake.violations, [`complete: cNarHash ${sample.request.info.narHash}`]);
    assert.equal((await call(fake, "/multipart-nar?compression=zstd")).status, 400);
  });

  it("says twice that a path asked for twice is missing, as the service does", async () => {
    await using fake = await startFakeCachix();
    await complete(fake);
    fake.service.upstream.add("0".repeat(32));
    const asked = [hash, "1".repeat(32), "0".repeat(32)];
    assert.deepEqual(await (await post(fake, "/narinfo", asked)).json(), ["1".repeat(32)]);
    assert.deepEqual(fake.violations, []);
    assert.deepEqual(await (await post(fake, "/narinfo", [hash, hash, hash])).json(), [hash, hash]);
    await post(fake, "/narinfo", []);
    await post(fake, "/narinfo", ["not a hash"]);
    await post(
      fake,
      "/narinfo",
      Array.from({ length: 32_769 }, (_, i) => `${i}`.padStart(32, "0")),
    );
    assert.deepEqual(fake.violations, [
      "missing: a hash was sent twice",
      "missing: empty query",
      "missing: not a hash part",
      "missing: 32769 hashes at once",
    ]);
  });

  it("hides a path until its references are there or upstream", async () => {
    await using fake = await startFakeCachix();
    const lib = "1k3i624w0rfrvcrbbdrw0zrvasywxmz4-lib";
    await complete(fake, {
      cReferences: [lib, `${hash}-hello`].toSorted((a, b) => (a < b ? -1 : 1)),
    });
    assert.equal(fake.service.isVisible(hash), false);
    fake.service.upstream.add(lib.slice(0, 32));
    assert.equal(fake.service.isVisible(hash), true);
  });

  it("forgets an upload that is given up", async () => {
    await using fake = await startFakeCachix();
    const begun = await begin(fake);
    const abort = async (): Promise<number> =>
      (await call(fake, `${begun.path}/abort?${begun.query}`)).status;
    assert.equal(fake.service.openUploads, 1);
    assert.equal(await abort(), 200);
    assert.equal(fake.service.openUploads, 0);
    assert.equal(await abort(), 404);
    const late = await post(fake, `${begun.path}?${begun.query}&partNumber=1`, {
      contentMD5: "1B2M2Y8AsgTpgAmY7PhCfg==",
    });
    assert.equal(late.status, 404);
    assert.deepEqual(fake.violations, []);
  });

  it("pins what it has, and lists the last revision", async () => {
    await using fake = await startFakeCachix();
    await complete(fake);
    const pin = { name: "p", storePath: sample.storePath, artifacts: [], keep: null };
    assert.equal((await post(fake, "/pin", pin)).status, 200);
    const absent = `/nix/store/${"0".repeat(32)}-x`;
    assert.equal((await post(fake, "/pin", { ...pin, storePath: absent })).status, 404);
    const list = await (await call(fake, "/pin", { method: "GET" })).json();
    assert.deepEqual(list, [
      { name: "p", keep: null, lastRevision: { storePath: sample.storePath } },
    ]);
  });

  it("lets in whom it should", async () => {
    await using fake = await startFakeCachix();
    const info = async (token: string): Promise<number> =>
      (await call(fake, "", { method: "GET", token })).status;
    assert.deepEqual([await info("fake-token"), await info(""), await info("x")], [200, 200, 401]);
    assert.equal((await call(fake, "/multipart-nar?compression=zst", { token: "" })).status, 401);
    fake.service.isPublic = false;
    assert.equal(await info(""), 401);
    fake.service.permission = "Read";
    assert.equal((await call(fake, "/multipart-nar?compression=zst")).status, 403);
  });

  it("notes requests that it does not know", async () => {
    await using fake = await startFakeCachix();
    await fetch(`${fake.url}/elsewhere`);
    await call(fake, "/settings", { method: "GET" });
    await call(fake, "/key", {
      body: { publicKey: "x" },
      headers: { "content-type": "text/plain" },
    });
    assert.deepEqual(fake.violations, [
      "unknown request GET /elsewhere",
      "unknown request GET /api/v1/cache/acme/settings",
      "key: content-type text/plain",
    ]);
  });
});

describe("a script for the fake of Cachix", () => {
  const info = (fake: FakeCachix): Promise<Response> => call(fake, "", { method: "GET" });

  it("answers one request, in the order of the scripts", async () => {
    await using fake = await startFakeCachix();
    fake.next("info").reply(503, { body: "busy", headers: { "retry-after": "1" } });
    fake.next("info").reply(500, { body: { error: "x" } });
    const first = await info(fake);
    assert.deepEqual([first.status, await first.text()], [503, "busy"]);
    assert.equal(first.headers.get("retry-after"), "1");
    assert.deepEqual(await (await info(fake)).json(), { error: "x" });
    assert.equal((await info(fake)).status, 200);
    assert.equal(fake.of("info").length, 3);
  });

  it("cuts a connection, with effect or without", async () => {
    await using fake = await startFakeCachix();
    fake.next("key").cut();
    await assert.rejects(post(fake, "/key", { publicKey: "a" }));
    fake.next("key").cut({ takeEffect: true });
    await assert.rejects(post(fake, "/key", { publicKey: "b" }));
    fake.next("key").reply(524, { takeEffect: true });
    await post(fake, "/key", { publicKey: "c" });
    assert.deepEqual(fake.service.registeredKeys, ["b", "c"]);
  });

  it("cuts a connection in the middle of a body", async () => {
    await using fake = await startFakeCachix();
    fake.next("key").cut({ afterBytes: 5, takeEffect: true });
    await assert.rejects(post(fake, "/key", { publicKey: "a" }));
    assert.deepEqual(fake.service.registeredKeys, []);
  });

  it("holds a request until it is released", async () => {
    await using fake = await startFakeCachix();
    const script = fake.next("key");
    const release = script.hold();
    const pending = post(fake, "/key", { publicKey: "a" });
    assert.equal((await script.arrived).operation, "key");
    assert.deepEqual(fake.service.registeredKeys, []);
    release();
    assert.equal((await pending).status, 200);
    assert.deepEqual(fake.service.registeredKeys, ["a"]);
  });

  it("answers by hand", async () => {
    await using fake = await startFakeCachix();
    fake
      .next("info")
      .handle((request, serve) => ({ ...serve(), status: 203, body: request.target }));
    const answer = await info(fake);
    assert.deepEqual([answer.status, await answer.text()], [203, "/api/v1/cache/acme"]);
  });
});
