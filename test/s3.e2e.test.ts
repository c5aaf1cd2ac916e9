import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { ListMultipartUploadsCommand } from "@aws-sdk/client-s3";

import { type FakeS3, startFakeS3 } from "./fakes/s3.ts";
import { handpick, type Result, resultOf, startHandpick } from "./handpick.ts";
import { codeBlocks, readProject, sections } from "./markdown.ts";
import { createTestNix, type TestNix } from "./nix.ts";
import { FAKE_S3_ENV } from "./s3-rig.ts";
import { SyncRig } from "./sync/sync-rig.ts";
import { S3_ENV, startVersitygw, type Versitygw, whyNoVersitygw } from "./versitygw.ts";

/** Of several parts at 5 MiB each. */
const LARGE_BYTES = 24 << 20;

describe("a cache that is a bucket", { skip: whyNoVersitygw, timeout: 180_000 }, () => {
  let rig: SyncRig;
  let server: Versitygw;
  let key: string;
  let publicKey: string;
  let count = 0;
  before(async () => {
    rig = await SyncRig.create();
    server = await startVersitygw();
    key = join(rig.nix.dir, "key");
    publicKey = (await run(["keygen", "--out", key, "bucket-1"])).stdout.trim();
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
    await rig[Symbol.asyncDispose]();
  });

  const run = (
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): Promise<Result> => handpick(rig.nix, args, { env: { ...rig.env, ...S3_ENV, ...env } });
  const done = async (...args: readonly string[]): Promise<Result> => {
    const result = await run(args);
    assert.equal(result.status, 0, `${args.join(" ")}: ${result.stderr}${result.stdout}`);
    return result;
  };
  /** Configures a new bucket, and returns its name. */
  async function configure(parameters = ""): Promise<string> {
    count += 1;
    const name = `bucket-${count}`;
    const url = `${await server.bucket(name, { everybody: "read" })}${parameters}`;
    const table = `[caches.bucket]\nurl = "${url}"\nsigning-key-file = "${key}"\nupstreams = []\n`;
    await writeFile(join(rig.nix.dir, "handpick.toml"), table);
    return name;
  }
  async function held(name: string): Promise<string[]> {
    return (await readdir(join(server.dir, name), { recursive: true })).toSorted();
  }

  it("is pushed to and read by a fresh machine, signatures required", async () => {
    const name = await configure();
    const { app } = await rig.select("home", [{ packages: ["app"] }]);
    assert.match((await done("plan", app)).stdout, /2 selected, 2 to push/);
    assert.deepEqual(await held(name), []);
    await done("push", app);
    assert.match((await done("push", app)).stderr, /2 already there|nothing to push|0 pushed/);
    await using reader = await createTestNix({ root: true });
    const conf = `substituters = ${server.url}/${name}\ntrusted-public-keys = ${publicKey}`;
    await reader.run("nix-store", ["--realise", app], { env: { NIX_CONFIG: conf } });
  });

  it("is kept by sync, which notices what somebody removed", async () => {
    const name = await configure("&prefix=nix");
    await rig.declare("home", [{ packages: ["app"] }]);
    await done("sync", "--wait");
    const before = await held(name);
    assert.equal(before.filter((file) => file.endsWith(".narinfo")).length, 2);
    await done("sync", "--recheck");
    assert.deepEqual(await held(name), before);
    await rig.withdraw("home");
  });

  it("is looked at by doctor: credentials, permission, and how a folder is read", async () => {
    const name = await configure("&prefix=nix");
    const { stdout } = await done("doctor");
    assert.match(
      stdout,
      /bucket: access: signed with credentials of the variables AWS_ACCESS_KEY_ID/,
    );
    assert.match(stdout, /bucket: cache: .*whether we may write is tried below/);
    assert.match(stdout, /bucket: credentials: those that access tells of, below, signing key/);
    assert.match(stdout, /bucket: access: .*, may write/);
    assert.match(stdout, /extra-trusted-public-keys = bucket-1:/);
    assert.match(stdout, /readers need http\(s\)/);
    assert.ok(stdout.includes(`read at ${server.url}/${name}/nix`), stdout);
    const refused = await run(["doctor"], { AWS_SECRET_ACCESS_KEY: "another" });
    assert.equal(refused.status, 3);
    assert.match(
      refused.stdout,
      /bucket: access: .*SignatureDoesNotMatch; signed with credentials of the variables AWS_ACCESS_KEY_ID/,
    );
    assert.doesNotMatch(refused.stdout + refused.stderr, /another/);
  });

  it("takes a path of several parts, and leaves no upload behind", async () => {
    const name = await configure();
    const large = await addLarge(rig.nix);
    await done("push", large);
    const { Uploads = [] } = await server.sdk.send(
      new ListMultipartUploadsCommand({ Bucket: name }),
    );
    assert.deepEqual(Uploads, []);
    await using reader = await createTestNix({ root: true });
    const conf = `substituters = ${server.url}/${name}\ntrusted-public-keys = ${publicKey}`;
    await reader.run("nix-store", ["--realise", large], { env: { NIX_CONFIG: conf } });
  });
});

describe("a push to a bucket that is ended", { timeout: 120_000 }, () => {
  let nix: TestNix;
  let large: string;
  before(async () => {
    nix = await createTestNix({ root: true });
    large = await addLarge(nix);
  });
  after(() => nix[Symbol.asyncDispose]());

  const push = (fake: FakeS3): readonly string[] => ["push", "--to", fake.url, large];
  const isPublished = ({ objects }: FakeS3): boolean =>
    [...objects.keys()].some((name) => name.endsWith(".narinfo"));

  it("by Ctrl-C gives its upload up, at once", async () => {
    await using fake = await startFakeS3();
    const { promise: until, resolve } = Promise.withResolvers<undefined>();
    fake.faults.push({ operation: "UploadPart", until });
    const arrived = fake.next("UploadPart");
    const child = startHandpick(nix, push(fake), { env: FAKE_S3_ENV });
    const ended = resultOf(child);
    await arrived;
    const startMs = performance.now();
    child.kill("SIGINT");
    const { status, stderr } = await ended;
    assert.equal(status, 130, stderr);
    assert.ok(performance.now() - startMs < 10_000);
    assert.deepEqual([fake.uploads.size, isPublished(fake)], [0, false]);
    resolve(undefined);
  });

  for (const operation of [
    "CreateMultipartUpload",
    "UploadPart",
    "CompleteMultipartUpload",
  ] as const) {
    it(`by a kill at ${operation} shows nothing, and the next one finishes`, async () => {
      await using fake = await startFakeS3();
      const { promise: until, resolve } = Promise.withResolvers<undefined>();
      fake.faults.push({ operation, until });
      const arrived = fake.next(operation);
      const child = startHandpick(nix, push(fake), { env: FAKE_S3_ENV });
      const ended = resultOf(child);
      await arrived;
      child.kill("SIGKILL");
      await ended;
      resolve(undefined);
      assert.equal(isPublished(fake), false);
      const again = await handpick(nix, push(fake), { env: FAKE_S3_ENV });
      assert.equal(again.status, 0, again.stderr);
      assert.equal(isPublished(fake), true);
    });
  }

  it("without credentials says so, and where they are looked for", async () => {
    await using fake = await startFakeS3();
    const env = { ...FAKE_S3_ENV, AWS_ACCESS_KEY_ID: "", AWS_SECRET_ACCESS_KEY: "" };
    const { status, stderr } = await handpick(nix, push(fake), { env });
    assert.equal(status, 3);
    assert.match(stderr, /TOKEN_MISSING[^]*AWS_ACCESS_KEY_ID/);
  });
});

describe("docs/s3.md", () => {
  it("has URLs that are taken", async () => {
    const text = await readProject("docs/s3.md");
    const [block = ""] = codeBlocks(sections(text, 2).get("Push") ?? "", "sh");
    const urls = [block, text].flatMap(
      (part) => part.match(/(?<=[`"])s3:\/\/[^`"]+(?=[`"])/g) ?? [],
    );
    assert.ok(urls.length > 6);
    const { cacheUrlFault } = await import("../src/cache/cache-url.ts");
    for (const url of urls) {
      if (url !== "s3://BUCKET") assert.equal(cacheUrlFault(url), undefined, url);
    }
  });

  it("has every parameter, and no other", async () => {
    const { readParameters } = await import("../src/cache/s3/s3-parameters.ts");
    const section = sections(await readProject("docs/s3.md"), 2).get("Parameters") ?? "";
    const names = Array.from(section.matchAll(/^\| `([a-z-]+)` /gm), ([, name = ""]) => name);
    assert.equal(names.length, 10);
    for (const name of names) {
      const fault = readParameters(`${name}=\u0000`);
      assert.match("fault" in fault ? fault.fault : "", new RegExp(`has a value of ${name} that`));
    }
  });
});

async function addLarge(nix: TestNix): Promise<string> {
  const file = join(nix.dir, "large");
  await writeFile(file, randomBytes(LARGE_BYTES));
  return (await nix.run("nix-store", ["--add", file])).stdout.trim();
}
