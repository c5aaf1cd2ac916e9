import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";

import { parseNarInfo } from "../../src/nix/narinfo.ts";
import { parsePublicKey } from "../../src/nix/key.ts";
import { fingerprint, verifyFingerprint } from "../../src/nix/signature.ts";
import { hashPartOf } from "../../src/nix/store-path.ts";
import { sampleUpload } from "../sample-upload.ts";
import { type FakeAttic, startFakeAttic } from "./attic.ts";

const { storePath, file } = sampleUpload({ name: "hello", compression: "none" });
const hash = hashPartOf(storePath);
const DESCRIPTION = {
  cache: "acme",
  store_path_hash: hash,
  store_path: storePath,
  references: [] as readonly string[],
  system: null,
  deriver: null as string | null,
  sigs: [] as readonly string[],
  ca: null,
  nar_hash: `sha256:${createHash("sha256").update(file).digest("hex")}`,
  nar_size: file.length,
};

/** Speaks to the fake by hand. */
async function call(
  fake: FakeAttic,
  path: string,
  options: Omit<RequestInit, "headers"> & {
    readonly headers?: Readonly<Record<string, string>>;
    readonly token?: string;
  } = {},
): Promise<Response> {
  const { token = "fake-token", headers = {}, ...rest } = options;
  return fetch(`${fake.url}/${path}`, {
    ...rest,
    headers: { authorization: `Bearer ${token}`, ...headers },
  });
}

async function upload(
  fake: FakeAttic,
  change: Readonly<Record<string, unknown>> = {},
  nar: Buffer = file,
): Promise<Response> {
  const description = Buffer.from(JSON.stringify({ ...DESCRIPTION, ...change }));
  const headers = { "x-attic-nar-info-preamble-size": `${description.length}` };
  const body = Buffer.concat([description, nar]);
  return call(fake, "_api/v1/upload-path", { method: "PUT", headers, body });
}

function ask(fake: FakeAttic, body: unknown, token?: string): Promise<Response> {
  return call(fake, "_api/v1/get-missing-paths", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
    ...(token === undefined ? {} : { token }),
  });
}

describe("the fake of Attic", () => {
  it("serves what was uploaded, signed with the key of the cache", async () => {
    await using fake = await startFakeAttic();
    const first = await upload(fake);
    assert.deepEqual(await first.json(), {
      kind: "Uploaded",
      file_size: file.length,
      frac_deduplicated: null,
    });
    assert.deepEqual(await (await upload(fake)).json(), {
      kind: "Deduplicated",
      frac_deduplicated: null,
    });
    const info = parseNarInfo(await (await call(fake, `acme/${hash}.narinfo`)).text());
    const config = await (await call(fake, "_api/v1/cache-config/acme")).json();
    const key = parsePublicKey((config as { public_key: string }).public_key);
    assert.ok(verifyFingerprint(fingerprint(info), info.signatures[0] ?? "", [key]));
    const nar = await (await call(fake, `acme/${info.url}`)).arrayBuffer();
    assert.deepEqual(Buffer.from(nar), file);
    assert.deepEqual(fake.service.violations, []);
  });

  it("tells who may not push from who may not see", async () => {
    await using fake = await startFakeAttic();
    const question = { cache: "acme", store_path_hashes: [hash] };
    assert.equal((await ask(fake, question)).status, 200);
    assert.equal((await ask(fake, question, "other")).status, 403);
    fake.service.isPublic = false;
    assert.equal((await ask(fake, question, "other")).status, 401);
    assert.equal((await call(fake, "_api/v1/cache-config/acme", { token: "x" })).status, 401);
    assert.equal((await ask(fake, { ...question, cache: "other" })).status, 404);
    assert.equal((await call(fake, "_api/v1/cache-config/other")).status, 404);
  });

  it("notes what is not spelled as it should be", async () => {
    for (const [change, fault] of [
      [{ references: [storePath] }, "references"],
      [{ references: [`${hash}-a`, `${hash}-a`] }, "the order of references"],
      [{ references: [`${"a".repeat(32)}-lib`] }, `${"a".repeat(32)} is not there yet`],
      [{ nar_hash: DESCRIPTION.nar_hash.toUpperCase() }, "nar_hash"],
      [{ nar_size: file.length + 1 }, "the size of the body"],
      [{ store_path_hash: "b".repeat(32) }, "store_path_hash"],
      [{ sigs: ["a:b"] }, "sigs"],
      [{ more: 1 }, "keys"],
      [{ deriver: "/nix/store/x" }, "deriver"],
    ] as const) {
      await using fake = await startFakeAttic();
      await upload(fake, change);
      assert.ok(
        fake.service.violations.some((text) => text.includes(fault)),
        `${fault}: ${fake.service.violations.join()}`,
      );
    }
  });

  it("publishes nothing of another hash than announced", async () => {
    await using fake = await startFakeAttic();
    const other = Buffer.from(file);
    other[0] = 0;
    assert.equal((await upload(fake, {}, other)).status, 400);
    assert.equal((await upload(fake, {}, file.subarray(1))).status, 400);
    assert.equal(fake.service.published.size, 0);
  });

  it("notes questions that are too large, repeat themselves or ask for none", async () => {
    await using fake = await startFakeAttic();
    await ask(fake, { cache: "acme", store_path_hashes: [hash, hash] });
    await ask(fake, { cache: "acme", store_path_hashes: [storePath] });
    await ask(fake, { cache: "acme", store_path_hashes: [], more: 1 });
    await call(fake, "_api/v1/user");
    assert.deepEqual(
      fake.service.violations.map((text) => text.replace(/^.*: /, "")),
      ["duplicates is wrong", "hashes is wrong", "keys is wrong", "it is no call of Attic"],
    );
  });
});
