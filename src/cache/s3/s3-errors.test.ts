import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, describe, it } from "node:test";

import { FAKE_SIGNER, type S3Fault } from "../../../test/fakes/s3.ts";
import type { Signer } from "../../../test/fakes/s3-signature.ts";
import { createS3Rig, FAKE_S3_ENV } from "../../../test/s3-rig.ts";
import { publishSample, sampleUpload } from "../../../test/sample-upload.ts";
import { tempDir } from "../../../test/temp.ts";
import { hashPartOf } from "../../nix/store-path.ts";
import { narInfoName } from "../binary-cache.ts";
import { createS3Cache } from "./s3-cache.ts";

const { signal } = new AbortController();

beforeEach(() => {
  for (const name of Object.keys(process.env))
    if (name.startsWith("AWS_")) delete process.env[name];
  Object.assign(process.env, FAKE_S3_ENV);
});

describe("the answers of S3", () => {
  const cases: readonly (readonly [Partial<S3Fault>, object])[] = [
    [
      { status: 403, code: "AccessDenied" },
      { code: "CACHE_REFUSED", message: /received 403: AccessDenied$/, hint: /s3:ListBucket/ },
    ],
    [
      { status: 404, code: "NoSuchBucket" },
      { code: "CACHE_NOT_FOUND", message: /there is no bucket bucket at 127\.0\.0\.1:\d+$/ },
    ],
    [
      { status: 301, code: "PermanentRedirect", headers: { "x-amz-bucket-region": "eu-west-1" } },
      {
        code: "CACHE_NOT_FOUND",
        message: /not in region us-east-1 but in eu-west-1$/,
        hint: /Set region=eu-west-1 /,
      },
    ],
    [
      { status: 400, code: "AuthorizationHeaderMalformed", more: "<Region>us-west-2</Region>" },
      { code: "CACHE_NOT_FOUND", message: /but in us-west-2$/ },
    ],
    [
      { status: 400, code: "ExpiredToken" },
      { code: "CACHE_REFUSED", message: /the credentials have expired$/, hint: /aws sso login/ },
    ],
    [
      { status: 403, code: "SignatureDoesNotMatch" },
      { code: "CACHE_REFUSED", hint: /access key and secret belong together/ },
    ],
    [
      { status: 403, body: "<html><body>Log in</body></html>" },
      { code: "CACHE_REFUSED", hint: /gateway, proxy or login page/ },
    ],
    [{ status: 501, code: "NotImplemented" }, { code: "CACHE_PROTOCOL" }],
  ];
  for (const [fault, expected] of cases) {
    it(`are told: ${fault.status} ${fault.code ?? "with a page"}`, async () => {
      await using rig = await createS3Rig();
      // Some of these statuses are tried again.
      for (let tries = 0; tries < 30; tries++)
        rig.fake.faults.push({ operation: "GetObject", ...fault });
      await assert.rejects(rig.cache.info(signal), expected);
    });
  }

  it("are waited for while the server is busy, which is told, and signed anew", async () => {
    await using rig = await createS3Rig();
    rig.fake.faults.push(
      { operation: "GetObject", status: 503, code: "SlowDown" },
      { operation: "GetObject", status: 400, code: "RequestTimeout" },
    );
    await rig.cache.info(signal);
    assert.deepEqual(
      rig.notices.map(({ reason }) => reason.slice(-10)),
      ["status 503", "status 503"],
    );
  });

  it("set the time of signatures where our clock is wrong", async () => {
    await using rig = await createS3Rig();
    for (const minutes of [-20, 20, 3 * 24 * 60]) {
      rig.fake.skewMs = minutes * 60_000;
      await publishSample(rig.cache, sampleUpload({ name: `skew-${minutes}` }));
    }
  });

  it("tell of clocks that differ, with both times, where that does not help", async () => {
    await using rig = await createS3Rig();
    rig.fake.skewMs = -20 * 60_000;
    const fault = { operation: "GetObject", status: 403, code: "RequestTimeTooSkewed" } as const;
    rig.fake.faults.push(fault, fault);
    await assert.rejects(rig.cache.info(signal), {
      code: "CACHE_REFUSED",
      message:
        /the clocks differ: it is (\S+Z) here and (?!\1)\S+Z at the server; received 403 RequestTimeTooSkewed$/,
      hint: /Set the clock/,
    });
  });

  it("that lead elsewhere are not followed: a session token is for one server", async () => {
    process.env["AWS_SESSION_TOKEN"] = "session-token-of-the-user";
    await using elsewhere = await createS3Rig();
    await using rig = await createS3Rig();
    const location = elsewhere.fake.url.replace(/.*endpoint=([^&]*).*/, "http://$1/bucket/x");
    rig.fake.faults.push({
      operation: "GetObject",
      status: 307,
      code: "TemporaryRedirect",
      headers: { location },
    });
    await assert.rejects(rig.cache.info(signal), { code: "CACHE_NOT_FOUND" });
    assert.equal(
      rig.fake.requests[0]?.headers["x-amz-security-token"],
      "session-token-of-the-user",
    );
    assert.equal(elsewhere.fake.requests.length, 0);
  });

  it("never bring a secret into a message", async () => {
    process.env["AWS_SESSION_TOKEN"] = "session-token-of-the-user";
    await using rig = await createS3Rig();
    const body = "session-token-of-the-user AKIAFAKE";
    rig.fake.faults.push({ operation: "GetObject", status: 403, body });
    await assert.rejects(rig.cache.info(signal), ({ message }: Error) => {
      assert.doesNotMatch(message, /session-token/);
      return true;
    });
  });
});

describe("credentials", () => {
  it("that are missing are told, with the places", async () => {
    delete process.env["AWS_ACCESS_KEY_ID"];
    await using rig = await createS3Rig();
    await assert.rejects(rig.cache.info(signal), {
      code: "TOKEN_MISSING",
      message: /: no credentials: /,
      hint: /AWS_ACCESS_KEY_ID.*profiles.*instances/,
    });
    assert.equal(rig.fake.requests.length, 0);
  });

  it("come from the profile of the URL, which is named where it is missing", async () => {
    const dir = await mkdtemp(join(tmpdir(), "hp-"));
    const file = join(dir, "credentials");
    const { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret } = FAKE_S3_ENV;
    await writeFile(file, `[mine]\naws_access_key_id = ${id}\naws_secret_access_key = ${secret}\n`);
    process.env["AWS_SHARED_CREDENTIALS_FILE"] = file;
    process.env["AWS_ACCESS_KEY_ID"] = "AKIAOTHER";
    await using rig = await createS3Rig({ parameters: "&profile=mine" });
    await rig.cache.info(signal);
    assert.match((await rig.cache.diagnose?.(signal))?.credentials ?? "", /profile mine$/);
    await using other = await createS3Rig({ parameters: "&profile=other" });
    await assert.rejects(other.cache.info(signal), {
      code: "TOKEN_MISSING",
      message: /no credentials of profile "other"/,
      hint: /^Write that profile to .*profile= out of the URL/,
    });
    await rm(dir, { recursive: true });
  });

  it("that a process gives for a minute are got again, so that they may rotate in the middle", async () => {
    await using temp = await tempDir();
    const [config, given] = [join(temp.dir, "config"), join(temp.dir, "given")];
    const give = async ({ accessKey, secretKey }: Signer): Promise<void> => {
      const Expiration = new Date(Date.now() + 60_000).toISOString();
      const keys = { Version: 1, AccessKeyId: accessKey, SecretAccessKey: secretKey, Expiration };
      await writeFile(given, JSON.stringify(keys));
    };
    await writeFile(config, `[profile mine]\ncredential_process = cat ${given}\n`);
    process.env["AWS_CONFIG_FILE"] = config;
    await using rig = await createS3Rig({ parameters: "&profile=mine" });
    const sample = sampleUpload({ name: "rotated" });
    await give(FAKE_SIGNER);
    const upload = await rig.cache.beginUpload(sample.request, signal);
    for (const part of sample.parts) await upload.putPart(part, signal);
    const next = { ...FAKE_SIGNER, accessKey: "AKIANEXT", secretKey: "next" };
    rig.fake.signers = [FAKE_SIGNER, next];
    await give(next);
    // The last minutes of the old ones are those in which new ones are got, beside the requests.
    do await rig.cache.info(signal);
    while (!rig.fake.requests.at(-1)?.headers.authorization?.includes(next.accessKey));
    rig.fake.signers = [next];
    await upload.publish(sample.packed, signal);
    assert.ok(rig.fake.objects.has(narInfoName(hashPartOf(sample.storePath))));
  });

  it("that SSO has no session for are told as expired, with what to run", async () => {
    const dir = await mkdtemp(join(tmpdir(), "hp-"));
    const file = join(dir, "config");
    await writeFile(
      file,
      "[profile sso]\nsso_session = s\nsso_account_id = 123456789012\nsso_role_name = r\n[sso-session s]\nsso_region = us-east-1\nsso_start_url = https://d.example/start\n",
    );
    process.env["AWS_CONFIG_FILE"] = file;
    await using rig = await createS3Rig({ parameters: "&profile=sso" });
    await assert.rejects(rig.cache.info(signal), {
      code: "TOKEN_MISSING",
      hint: /aws sso login --profile sso/,
    });
    await rm(dir, { recursive: true });
  });

  it("are waited for no longer than until the run is stopped", async () => {
    const dir = await mkdtemp(join(tmpdir(), "hp-"));
    const file = join(dir, "config");
    await writeFile(file, "[profile slow]\ncredential_process = sleep 5\n");
    process.env["AWS_CONFIG_FILE"] = file;
    await using rig = await createS3Rig({ parameters: "&profile=slow" });
    const stop = new AbortController();
    const asked = rig.cache.info(stop.signal);
    setImmediate(() => stop.abort(new Error("stop")));
    const startMs = performance.now();
    await assert.rejects(asked, /stop/);
    assert.ok(performance.now() - startMs < 2000);
    await rm(dir, { recursive: true });
  });

  it("are told by where they come from, and whether they may write", async () => {
    await using rig = await createS3Rig();
    const found = await rig.cache.diagnose?.(signal);
    assert.match(found?.credentials ?? "", /variables AWS_ACCESS_KEY_ID and/);
    assert.deepEqual([found?.refusal, found?.advice], [undefined, undefined]);
    assert.deepEqual([rig.fake.uploads.size, rig.fake.objects.size], [0, 0]);
    rig.fake.faults.push({ operation: "CreateMultipartUpload", status: 403, code: "AccessDenied" });
    assert.equal((await rig.cache.diagnose?.(signal))?.refusal?.code, "CACHE_REFUSED");
  });

  it("that do not belong to the server are refused", async () => {
    process.env["AWS_SECRET_ACCESS_KEY"] = "another";
    await using rig = await createS3Rig();
    await assert.rejects(rig.cache.info(signal), {
      code: "CACHE_REFUSED",
      message: /SignatureDoesNotMatch/,
    });
  });
});

describe("a server that does not answer", () => {
  it("is told within the time of a first contact", async () => {
    await using rig = await createS3Rig({ firstContactMs: 100 });
    const { promise: until, resolve } = Promise.withResolvers<undefined>();
    rig.fake.faults.push({ operation: "GetObject", until });
    await assert.rejects(rig.cache.info(signal), { code: "NETWORK", message: /within 0\.1 s/ });
    resolve(undefined);
  });

  it("is told soon if there is none", async () => {
    const url = "s3://bucket?endpoint=127.0.0.1:1&scheme=http";
    await using cache = createS3Cache({ name: "mine", url, env: {}, random: () => 0 });
    await assert.rejects(cache.info(signal), { code: "NETWORK" });
  });
});
