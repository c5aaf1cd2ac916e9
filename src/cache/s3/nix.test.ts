import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { createTestNix } from "../../../test/nix.ts";
import {
  APP_AND_LIB,
  packAppAndLib,
  type PackedPath,
  publishPacked,
  substituteApp,
  TRUSTED,
} from "../../../test/packed-path.ts";
import { S3_ENV, startVersitygw, type Versitygw, whyNoVersitygw } from "../../../test/versitygw.ts";
import { hashPartOf } from "../../nix/store-path.ts";
import type { Compression } from "../contract.ts";
import { createS3Cache } from "./s3-cache.ts";

const { signal } = new AbortController();

/** Why the Nix of this machine does not read `s3://`, or `false`. */
const whyNoS3 = await (async (): Promise<string | false> => {
  await using nix = await createTestNix();
  const asked = ["path-info", "--store", "s3://bucket?endpoint=127.0.0.1:1&scheme=http", "--all"];
  const { stderr } = await nix.run("nix", asked, { env: S3_ENV, allowFailure: true });
  const isUnknown = /don't know how to open Nix store/.test(stderr);
  return isUnknown && "this Nix is built without S3";
})();

describe("a bucket and Nix itself", { skip: whyNoVersitygw, timeout: 120_000 }, () => {
  let server: Versitygw;
  let app: PackedPath;
  let lib: PackedPath;
  let count = 0;
  before(async () => {
    Object.assign(process.env, S3_ENV);
    server = await startVersitygw();
    ({ app, lib } = await packAppAndLib());
  });
  after(() => server[Symbol.asyncDispose]());

  async function pushed(
    compression: Compression,
    prefix = "",
  ): Promise<{ url: string; name: string }> {
    count += 1;
    const name = `nix-${count}`;
    const url = await server.bucket(name, { everybody: "read" });
    await using cache = createS3Cache({ name: "bucket", url: url + prefix });
    for (const each of [lib, app]) await publishPacked(cache, each, compression);
    return { url, name };
  }

  const substitute = (url: string, lines: readonly string[]): Promise<boolean> =>
    substituteApp({ app, lib }, { url, lines, env: S3_ENV });

  for (const method of ["zstd", "xz", "none"] as const) {
    it(`is substituted from over http://, signatures required, compressed with ${method}`, async () => {
      const { name } = await pushed(method);
      assert.equal(await substitute(`${server.url}/${name}`, []), false);
      assert.equal(await substitute(`${server.url}/${name}`, [TRUSTED]), true);
    });
  }

  it("is substituted from over http:// in the folder of a prefix", async () => {
    const { name, url } = await pushed("zstd", "&prefix=nix/mine");
    await using cache = createS3Cache({ name: "bucket", url: `${url}&prefix=nix/mine` });
    const { readUrl } = await cache.info(signal);
    assert.equal(readUrl, `${server.url}/${name}/nix/mine`);
    assert.equal(await substitute(readUrl, [TRUSTED]), true);
  });

  it("is substituted from over s3://, at the URL that is told", { skip: whyNoS3 }, async () => {
    const { url } = await pushed("zstd");
    await using cache = createS3Cache({ name: "bucket", url });
    const { readUrl } = await cache.info(signal);
    assert.equal(await substitute(readUrl, []), false);
    assert.equal(await substitute(readUrl, [TRUSTED]), true);
  });

  it("goes on with what nix copy wrote, and nix copy with ours", { skip: whyNoS3 }, async () => {
    const name = "both";
    // Some builds of Nix sign no requests.
    const url = await server.bucket(name, { everybody: "write" });
    await using cache = createS3Cache({ name: "bucket", url });
    await publishPacked(cache, lib, "zstd");
    await using nix = await createTestNix({ root: true });
    await nix.run("nix-instantiate", ["--eval", "--read-write-mode", "--expr", APP_AND_LIB]);
    await nix.run("nix", ["copy", "--to", url, app.info.path], { env: S3_ENV });
    const hashes = [lib, app].map(({ info }) => hashPartOf(info.path));
    assert.deepEqual(await cache.missing(hashes, signal), new Set());
    assert.equal(await substitute(`${server.url}/${name}`, [TRUSTED]), true);
  });
});
