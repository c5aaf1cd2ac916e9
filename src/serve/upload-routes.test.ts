import assert from "node:assert/strict";
import { hash } from "node:crypto";
import { readdir, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { zstdCompressSync } from "node:zlib";

import * as fc from "fast-check";

import { SLOW_FUZZ_RUNS, hostileText } from "../../test/fuzz.ts";
import {
  fileNar,
  md5Of,
  sample,
  sampleOf,
  samplePath,
  type Sample,
  type StartedUpload,
  startTestServer,
  type TestServer,
} from "../../test/serve-client.ts";
import { parseSha256 } from "../nix/hash.ts";
import { generateSecretKey, parsePublicKey, printPublicKey, publicKeyOf } from "../nix/key.ts";
import { parseNarInfo } from "../nix/narinfo.ts";
import { fingerprint, signFingerprint, verifyFingerprint } from "../nix/signature.ts";
import { hashPartOf, type StorePath } from "../nix/store-path.ts";
import { PART_URL_LIFETIME_MS } from "./part-url.ts";
import { UPLOAD_LIFETIME_MS } from "./uploads.ts";

const BYTES = Buffer.from("the bytes of a part");
const NO_UPLOAD = { narId: "00000000-0000-4000-8000-000000000000", uploadId: "none" };

describe("uploading", () => {
  let rig: TestServer;
  let nowMs = 1_800_000_000_000;
  before(async () => {
    rig = await startTestServer({}, { now: () => nowMs });
  });
  after(() => rig[Symbol.asyncDispose]());

  async function putBytes(url: string, headers: Record<string, string>): Promise<Response> {
    return fetch(url, { method: "PUT", body: BYTES, headers });
  }
  async function newPartUrl(): Promise<{ started: StartedUpload; url: string; md5: string }> {
    const started = await rig.client.begin();
    const md5 = md5Of(BYTES);
    return { started, url: await rig.client.partUrl(started, 1, md5), md5 };
  }

  describe("POST multipart-nar", () => {
    it("begins an upload by either method and no other", async () => {
      const { narId, uploadId } = await rig.client.begin("xz");
      assert.match(narId, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
      assert.ok(uploadId.length > 20);
      for (const query of ["?compression=none", "?compression=ZSTD", ""]) {
        assert.equal((await rig.client.post(`/multipart-nar${query}`)).status, 400);
      }
    });

    it("needs the token, as every call that writes", async () => {
      for (const path of ["", `/${NO_UPLOAD.narId}`, "/x/complete", "/x/abort"]) {
        const response = await rig.anonymous.post(`/multipart-nar${path}?compression=zst`, {});
        assert.equal(response.status, 401);
        assert.equal(await response.text(), "This needs the token of the cache");
      }
      assert.equal((await rig.anonymous.post("/key", { publicKey: "" })).status, 401);
      assert.equal((await rig.anonymous.post("/pin", {})).status, 401);
    });
  });

  describe("POST multipart-nar/NARID", () => {
    it("answers an absolute URL and takes the query in any order", async () => {
      const { narId, uploadId } = await rig.client.begin();
      const query = `x=1&partNumber=1&uploadId=${uploadId.replaceAll("a", "%61")}&y`;
      const body = { contentMD5: md5Of(BYTES), more: true };
      const response = await rig.client.post(`/multipart-nar/${narId}?${query}`, body);
      const { uploadUrl } = (await response.json()) as { uploadUrl: string };
      assert.ok(uploadUrl.startsWith(`${rig.server.url}/`));
    });

    it("refuses part numbers, MD5s and uploads that are none", async () => {
      const started = await rig.client.begin();
      const ask = async (
        upload: StartedUpload,
        partNumber: string,
        body: unknown,
      ): Promise<number> => {
        const path = `/multipart-nar/${upload.narId}?uploadId=${upload.uploadId}&partNumber=${partNumber}`;
        return (await rig.client.post(path, body)).status;
      };
      const body = { contentMD5: md5Of(BYTES) };
      for (const number of ["0", "10001", "-1", "1.5", "one", ""]) {
        assert.equal(await ask(started, number, body), 400);
      }
      for (const contentMD5 of [
        "",
        "sZRqySSS0jR8YjW00mERhB==",
        "b1946ac92492d2347c6235b4d2611184",
        5,
      ]) {
        assert.equal(await ask(started, "1", { contentMD5 }), 400);
      }
      assert.equal(await ask(NO_UPLOAD, "1", body), 404);
      assert.equal(await ask({ ...started, uploadId: "other" }, "1", body), 404);
      assert.equal(await ask({ narId: "..%2f..%2ftoken", uploadId: "x" }, "1", body), 404);
    });
  });

  describe("PUT to a part URL", () => {
    it("answers the quoted MD5 as ETag, without any credentials", async () => {
      const { url, md5 } = await newPartUrl();
      const response = await putBytes(url, { "content-md5": md5 });
      assert.equal(response.status, 200);
      assert.equal(response.headers.get("etag"), `"${Buffer.from(md5, "base64").toString("hex")}"`);
    });

    it("answers 403 to a Content-MD5 that is absent or another", async () => {
      const { url } = await newPartUrl();
      assert.equal((await putBytes(url, {})).status, 403);
      assert.equal((await putBytes(url, { "content-md5": md5Of(Buffer.from("x")) })).status, 403);
    });

    it("answers 400 to a body that does not match", async () => {
      const { url, md5 } = await newPartUrl();
      const headers = { "content-md5": md5 };
      const response = await fetch(url, { method: "PUT", body: "other bytes", headers });
      assert.equal(response.status, 400);
      assert.match(await response.text(), /^The part does not have the MD5/);
      assert.equal((await fetch(url, { method: "PUT", headers })).status, 400);
    });

    it("answers 400 to an Authorization header", async () => {
      const { url, md5 } = await newPartUrl();
      const headers = { "content-md5": md5, authorization: `Bearer ${rig.client.token}` };
      assert.equal((await putBytes(url, headers)).status, 400);
    });

    it("answers 403 after 300 seconds and 200 just before", async () => {
      const { url, md5 } = await newPartUrl();
      nowMs += PART_URL_LIFETIME_MS - 1;
      assert.equal((await putBytes(url, { "content-md5": md5 })).status, 200);
      nowMs += 1;
      assert.equal((await putBytes(url, { "content-md5": md5 })).status, 403);
    });

    it("answers 403 to a URL that was changed", async () => {
      const { url, md5 } = await newPartUrl();
      const changed = [
        url.replace("/1?", "/2?"),
        url.replace(/expires=\d+/, "expires=9999999999999"),
        url.replace(/signature=[^&]+/, "signature="),
        url.replace(/md5=[^&]+/, `md5=${encodeURIComponent(md5Of(Buffer.from("x")))}`),
        url.replace(/\?.*/, ""),
      ];
      for (const each of changed) {
        assert.equal((await putBytes(each, { "content-md5": md5 })).status, 403);
      }
    });

    it("answers 404 once the upload is over", async () => {
      const { started, url, md5 } = await newPartUrl();
      assert.equal((await rig.client.abort(started)).status, 200);
      assert.equal((await putBytes(url, { "content-md5": md5 })).status, 404);
    });

    it("answers 413 to a length above 5 GiB before it comes", async () => {
      const { url, md5 } = await newPartUrl();
      const status = await new Promise((resolve, reject) => {
        const headers = { "content-md5": md5, "content-length": String(5 * 1024 ** 3 + 1) };
        const put = request(url, { method: "PUT", headers }, (response) => {
          resolve(response.statusCode);
          put.destroy();
        });
        put.on("error", reject);
        put.flushHeaders();
      });
      assert.equal(status, 413);
    });
  });

  describe("POST complete", () => {
    async function completeWith(
      pushed: Sample,
      changes: Record<string, unknown>,
    ): Promise<{ status: number; text: string }> {
      const { started, parts } = await rig.client.upload(pushed);
      const narInfo = { ...pushed.narInfoCreate, ...changes };
      const response = await rig.client.complete(started, parts, narInfo);
      const missing = await rig.client.missing([hashPartOf(pushed.storePath)]);
      if (response.status !== 200) assert.equal(missing.length, 1);
      return { status: response.status, text: await response.text() };
    }

    it("publishes a narinfo that the managed key signed", async () => {
      const pushed = sample("published", { references: [samplePath("published")] });
      await rig.client.push(pushed);
      const { status, text } = await rig.anonymous.narInfo(pushed.storePath);
      assert.equal(status, 200);
      assert.match(text, /^FileHash: sha256:[0-9a-f]{64}$/m);
      assert.match(text, /^Sig: acme-1:/m);
      const info = parseNarInfo(text);
      assert.equal(info.compression, "zstd");
      assert.equal(info.narHash, pushed.narInfoCreate["cNarHash"]);
      assert.equal(info.deriver, undefined);
      const keys = rig.server.publicKeys.map((key) => parsePublicKey(key));
      assert.ok(verifyFingerprint(fingerprint(info), info.signatures[0] ?? "", keys));
    });

    it("joins many parts, also of xz, and takes a last part of no bytes", async () => {
      const contents = Buffer.from(Array.from({ length: 5000 }, (_, i) => (i * i) >> 4));
      await rig.client.push(sample("parts", { contents }), 500);
      await rig.client.push(sample("parts-xz", { contents, compression: "xz" }), 500);
      const pushed = sample("empty-part");
      const { started, parts } = await rig.client.upload(pushed);
      const last = await rig.client.putPart(started, 2, Buffer.alloc(0));
      const response = await rig.client.complete(started, [...parts, last], pushed.narInfoCreate);
      assert.equal(response.status, 200);
    });

    it("takes the later of two parts of one number", async () => {
      const pushed = sample("part-twice");
      const started = await rig.client.begin();
      await rig.client.putPart(started, 1, BYTES);
      const parts = [await rig.client.putPart(started, 1, pushed.file)];
      assert.equal((await rig.client.complete(started, parts, pushed.narInfoCreate)).status, 200);
    });

    it("mends a part that lost its bytes in a power cut when it is sent again", async () => {
      const pushed = sample("power-cut");
      const { started, parts } = await rig.client.upload(pushed);
      const dir = join(rig.dir, "parts");
      const names = (await readdir(dir)).filter((name) => name.startsWith(started.narId));
      for (const name of names) await writeFile(join(dir, name), "");
      const complete = async (): Promise<number> =>
        (await rig.client.complete(started, parts, pushed.narInfoCreate)).status;
      assert.equal(await complete(), 400);
      await rig.client.putPart(started, 1, pushed.file);
      assert.equal(await complete(), 200);
    });

    it("keeps the deriver", async () => {
      const deriver = samplePath("made.drv").slice("/nix/store/".length);
      const pushed = sample("derived", { deriver });
      await rig.client.push(pushed);
      assert.ok(
        (await rig.client.narInfo(pushed.storePath)).text.includes(`Deriver: ${deriver}\n`),
      );
    });

    it("answers 400 to every claim that is not so", async () => {
      const other = sample("other").narInfoCreate;
      const changes: Record<string, unknown>[] = [
        { cNarHash: other["cNarHash"] },
        { cNarSize: Number(sample("claims").narInfoCreate["cNarSize"]) + 8 },
        { cFileHash: other["cFileHash"] },
        { cFileSize: 1 },
        { cNarSize: 0 },
        { cNarSize: "120" },
        { cFileSize: 1.5 },
        { cStoreHash: "e".repeat(32) },
        { cStoreHash: "../../../../../../../../etc/x" },
        { cStoreSuffix: "a/b" },
        { cStoreSuffix: "" },
        { cReferences: ["not a reference"] },
        { cReferences: null },
        { cReferences: [`/nix/store/${"a".repeat(32)}-x`] },
        { cReferences: [`${"b".repeat(32)}-x`, `${"a".repeat(32)}-x`] },
        { cReferences: [`${"a".repeat(32)}-x`, `${"a".repeat(32)}-x`] },
        { cDeriver: "" },
        { cDeriver: null },
        { cDeriver: `${"a".repeat(32)}-x` },
        { cSig: "AAAA" },
        { cSig: `${"A".repeat(86)}==` },
      ];
      for (const change of changes) {
        const { status, text } = await completeWith(sample("claims"), change);
        assert.equal(status, 400, JSON.stringify(change));
        assert.match(text, /^[A-Za-z"].{10,300}$/);
      }
    });

    it("names the field that Nix, or no reader, could do anything with", async () => {
      const hash = "a".repeat(32);
      for (const [name, value] of [
        ["cStoreSuffix", "-name"],
        ["cStoreSuffix", "."],
        ["cStoreSuffix", "..-x"],
        ["cStoreSuffix", "a\u001b[2J"],
        ["cStoreSuffix", "x".repeat(212)],
        ["cStoreHash", `${hash}-x`],
        ["cStoreHash", hash.slice(1)],
        ["cNarHash", "sha256:x"],
        ["cReferences", [`${hash}-.-x`]],
        ["cDeriver", `${hash}-`],
      ] as const) {
        const { status, text } = await completeWith(sample("fields"), { [name]: value });
        assert.equal(status, 400);
        assert.ok(text.startsWith(name), text);
        assert.doesNotMatch(text, /\p{Cc}/u);
      }
    });

    it("answers 400 to hashes in other spellings than their one", async () => {
      const { narInfoCreate } = sample("spelling");
      const { cFileHash, cNarHash } = narInfoCreate;
      const spellings = [
        { cFileHash: `sha256:${String(cFileHash)}` },
        { cFileHash: String(cFileHash).toUpperCase() },
        { cNarHash: String(cNarHash).slice("sha256:".length) },
        { cNarHash: `sha256:${String(cFileHash)}` },
      ];
      for (const change of spellings) {
        assert.equal((await completeWith(sample("spelling"), change)).status, 400);
      }
    });

    it("answers 400 to parts that were not sent, out of order or have another ETag", async () => {
      const pushed = sample("etags");
      const { started, parts } = await rig.client.upload(pushed, Math.ceil(pushed.file.length / 2));
      const [one, two] = parts;
      assert.ok(one !== undefined && two !== undefined);
      const wrong = [
        null,
        [],
        [one],
        [two, one],
        [one, one, two],
        [one, two, { ...two, partNumber: 3 }],
        [one, { ...two, eTag: two.eTag.replaceAll('"', "") }],
        [one, { ...two, eTag: two.eTag.toUpperCase() }],
        [one, { ...two, eTag: one.eTag }],
        [one, { partNumber: 2 }],
      ];
      for (const list of wrong) {
        const response = await rig.client.complete(started, list, pushed.narInfoCreate);
        assert.equal(response.status, 400, JSON.stringify(list));
      }
      const response = await rig.client.complete(started, parts, pushed.narInfoCreate);
      assert.equal(response.status, 200);
    });

    it("answers 400 to a file that is no NAR, is followed by something or of the other method", async () => {
      const path = samplePath("bad-file");
      const notNar = sampleOf(path, Buffer.from("surely not a NAR"));
      assert.equal((await completeWith(notNar, {})).status, 400);
      const good = sample("bad-file");
      const withRest = sampleOf(path, good.nar);
      const rest = Buffer.concat([zstdCompressSync(good.nar), zstdCompressSync(Buffer.alloc(0))]);
      const file = {
        cFileHash: hash("sha256", rest),
        cFileSize: rest.length,
      };
      assert.match((await completeWith({ ...withRest, file: rest }, file)).text, /after the end/);
      const other = { ...sample("bad-file", { compression: "xz" }), compression: "zst" as const };
      assert.equal((await completeWith(other, {})).status, 400);
    });

    it("answers 400 to a body that is not JSON and 404 to an upload that is none", async () => {
      const started = await rig.client.begin();
      const path = `/multipart-nar/${started.narId}/complete?uploadId=${started.uploadId}`;
      const response = await rig.client.get(path, { method: "POST", body: "{" });
      assert.equal(response.status, 400);
      assert.equal(await response.text(), "The body is not JSON");
      assert.equal((await rig.client.complete(NO_UPLOAD, [], {})).status, 404);
    });

    it("answers 200, 400 or 413 to any body, never a failure", async () => {
      const pushed = sample("hostile", { references: [samplePath("hostile")] });
      const { started, parts } = await rig.client.upload(pushed);
      const path = `/multipart-nar/${started.narId}/complete?uploadId=${started.uploadId}`;
      const good = JSON.stringify({ parts, narInfoCreate: pushed.narInfoCreate });
      await fc.assert(
        fc.asyncProperty(hostileText([good]), async (body) => {
          const response = await rig.client.get(path, { method: "POST", body });
          await response.arrayBuffer();
          assert.ok([200, 400, 413].includes(response.status), `${response.status}`);
        }),
        { numRuns: SLOW_FUZZ_RUNS },
      );
    });

    it("answers 413 to a body that is too long", async () => {
      const body = "x".repeat(3 * 1024 * 1024);
      const response = await rig.client.get("/narinfo", { method: "POST", body }).catch(() => null);
      // The connection may be cut before the client has read the answer.
      if (response !== null) assert.equal(response.status, 413);
    });

    it("answers 200 to a repetition, and to two at once", async () => {
      const pushed = sample("again");
      const { started, parts } = await rig.client.upload(pushed);
      const complete = async (): Promise<number> =>
        (await rig.client.complete(started, parts, pushed.narInfoCreate)).status;
      assert.deepEqual(await Promise.all([complete(), complete()]), [200, 200]);
      assert.equal(await complete(), 200);
      assert.equal((await rig.client.abort(started)).status, 200);
      assert.equal((await rig.client.narInfo(pushed.storePath)).status, 200);
      assert.equal(
        (
          await rig.client.post(
            `/multipart-nar/${started.narId}?uploadId=${started.uploadId}&partNumber=1`,
            { contentMD5: md5Of(BYTES) },
          )
        ).status,
        404,
      );
    });

    it("answers 200 to both of two clients with one path and keeps the first", async () => {
      const first = sample("race", { contents: "first" });
      const second = sample("race", { contents: "second" });
      const uploads = [await rig.client.upload(first), await rig.client.upload(second)];
      const samples = [first, second];
      const statuses = await Promise.all(
        uploads.map(async ({ started, parts }, index) => {
          const narInfo = samples[index]?.narInfoCreate;
          return (await rig.client.complete(started, parts, narInfo)).status;
        }),
      );
      assert.deepEqual(statuses, [200, 200]);
      const { text } = await rig.client.narInfo(first.storePath);
      const again = sample("race", { contents: "third" });
      await rig.client.push(again);
      assert.equal((await rig.client.narInfo(first.storePath)).text, text);
      assert.equal((await fetch(`${rig.server.url}/${parseNarInfo(text).url}`)).status, 200);
    });

    it("leaves no part and no temporary file behind", async () => {
      const pushed = sample("tidy");
      const { started, parts } = await rig.client.upload(pushed, 20);
      const mine = async (): Promise<string[]> =>
        (await readdir(join(rig.dir, "parts"))).filter((name) => name.startsWith(started.narId));
      assert.equal((await mine()).length, parts.length);
      await rig.client.complete(started, parts, pushed.narInfoCreate);
      assert.deepEqual(await mine(), []);
      assert.deepEqual(await readdir(join(rig.dir, "tmp")), []);
    });
  });

  describe("POST abort", () => {
    it("frees the parts and forgets the upload", async () => {
      const { started } = await rig.client.upload(sample("aborted"));
      assert.equal((await rig.client.abort(started)).status, 200);
      assert.equal((await rig.client.abort(started)).status, 404);
      const parts = await readdir(join(rig.dir, "parts"));
      assert.ok(!parts.some((name) => name.startsWith(started.narId)));
    });
  });

  describe("POST key", () => {
    it("registers public keys, each once, under names that readers can tell apart", async () => {
      const base64 = printPublicKey({ ...publicKeyOf(generateSecretKey("x")), name: undefined });
      const before = rig.server.publicKeys.length;
      for (let i = 0; i < 2; i += 1) {
        assert.equal((await rig.client.post("/key", { publicKey: base64 })).status, 200);
      }
      assert.equal(rig.server.publicKeys.length, before + 1);
      assert.equal(rig.server.publicKeys.at(-1), `acme-${before + 1}:${base64}`);
    });

    it("refuses what is not a bare public key", async () => {
      const named = printPublicKey(publicKeyOf(generateSecretKey("x")));
      for (const publicKey of ["", "AAAA", named, "x y", null]) {
        assert.equal((await rig.client.post("/key", { publicKey })).status, 400);
      }
    });

    it("publishes the signature of a registered key beside ours, and refuses any other", async () => {
      const key = generateSecretKey("mine");
      const base64 = printPublicKey({ ...publicKeyOf(key), name: undefined });
      const pushed = sample("self-signed");
      const signature = (storePath: StorePath): string => {
        const narHash = parseSha256(String(pushed.narInfoCreate["cNarHash"]));
        const signed = { storePath, narHash, narSize: pushed.nar.length, references: [] };
        return signFingerprint(fingerprint(signed), key).slice("mine:".length);
      };
      const { started, parts } = await rig.client.upload(pushed);
      const complete = async (cSig: string): Promise<number> =>
        (await rig.client.complete(started, parts, { ...pushed.narInfoCreate, cSig })).status;
      assert.equal(await complete(signature(pushed.storePath)), 400);
      await rig.client.post("/key", { publicKey: base64 });
      const name = rig.server.publicKeys.at(-1)?.split(":")[0];
      assert.equal(await complete(signature(samplePath("another"))), 400);
      assert.equal(await complete(signature(pushed.storePath)), 200);
      const { text } = await rig.client.narInfo(pushed.storePath);
      const { signatures } = parseNarInfo(text);
      assert.deepEqual(
        signatures.map((each) => each.split(":")[0]),
        ["acme-1", name],
      );
    });

    it("stops at 32 keys", async () => {
      const statuses: number[] = [];
      for (let i = 0; i < 33; i += 1) {
        const base64 = printPublicKey({ ...publicKeyOf(generateSecretKey("x")), name: undefined });
        statuses.push((await rig.client.post("/key", { publicKey: base64 })).status);
      }
      assert.equal(statuses.at(-1), 400);
      assert.equal(rig.server.publicKeys.length, 33);
    });
  });
});

describe("unfinished uploads", () => {
  it("are swept at the next start, a day after the last part; younger ones go on", async () => {
    let nowMs = 1_800_000_000_000;
    const now = (): number => nowMs;
    const pushed = sample("resumed");
    await using first = await startTestServer({}, { now });
    const dir = first.dir;
    const old = await first.client.upload(sample("old"));
    nowMs += UPLOAD_LIFETIME_MS / 2;
    const young = await first.client.upload(pushed);
    await first.server.close();
    await writeFile(join(dir, "tmp", "left"), "half");
    await writeFile(join(dir, "parts", "left"), "half");
    await writeFile(join(dir, "nar", "left"), "half");

    nowMs += UPLOAD_LIFETIME_MS / 2 + 1;
    await using second = await startTestServer({ dir }, { now });
    assert.deepEqual(await readdir(join(dir, "tmp")), []);
    assert.deepEqual(await readdir(join(dir, "nar")), []);
    assert.equal((await readdir(join(dir, "parts"))).length, 1);
    const { client } = second;
    assert.equal((await client.complete(old.started, old.parts, pushed.narInfoCreate)).status, 404);
    const { started, parts } = young;
    assert.equal((await client.complete(started, parts, pushed.narInfoCreate)).status, 200);
  });

  it("of a NAR that is there with another file keep what is there", async () => {
    await using rig = await startTestServer();
    const nar = fileNar("same");
    await rig.client.push(sampleOf(samplePath("one"), nar));
    await rig.client.push(sampleOf(samplePath("two"), nar));
    assert.equal((await readdir(join(rig.dir, "nar"))).length, 1);
  });
});
