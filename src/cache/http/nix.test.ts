import assert from "node:assert/strict";
import { chmod, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { DAV, type Nginx, nginxSkip, startNginx } from "../../../test/nginx.ts";
import { createTestNix, type TestNix } from "../../../test/nix.ts";
import {
  APP_AND_LIB,
  packAppAndLib,
  type PackedPath,
  publishPacked,
  substituteApp,
  TRUSTED,
} from "../../../test/packed-path.ts";
import { type TempDir, tempDir } from "../../../test/temp.ts";
import { hashPartOf } from "../../nix/store-path.ts";
import { Secret } from "../../secret.ts";
import type { Compression } from "../contract.ts";
import { openCache } from "../open-cache.ts";

const { signal } = new AbortController();

describe("a web server and Nix itself", { skip: nginxSkip() }, () => {
  let temp: TempDir;
  let lib: PackedPath;
  let app: PackedPath;
  before(async () => {
    temp = await tempDir();
    await chmod(temp.dir, 0o755);
    ({ app, lib } = await packAppAndLib());
  });
  after(() => temp[Symbol.asyncDispose]());

  async function push(
    nginx: Nginx,
    packed: readonly PackedPath[],
    compression: Compression = "zstd",
  ): Promise<void> {
    const login = { user: "me", password: new Secret("pw") };
    await using cache = await openCache({ name: "web", url: nginx.url, env: {}, login });
    for (const each of packed) await publishPacked(cache, each, compression);
  }

  const substitute = ({ url }: Nginx, lines: readonly string[]): Promise<boolean> =>
    substituteApp({ app, lib }, { url, lines });

  async function copyTo(nginx: Nginx, nix: TestNix): Promise<void> {
    await nix.run("nix-instantiate", ["--eval", "--read-write-mode", "--expr", APP_AND_LIB]);
    await nix.run("nix", ["copy", "--to", `${nginx.url}?compression=zstd`, app.info.path]);
  }

  for (const compression of ["zstd", "xz", "none"] as const) {
    it(`is substituted from with signatures required, compressed with ${compression}`, async () => {
      await using nginx = await startNginx();
      await push(nginx, [lib, app], compression);
      assert.equal(await substitute(nginx, []), false);
      assert.equal(await substitute(nginx, [TRUSTED]), true);
    });
  }

  it("is read with the netrc that we write with", async () => {
    const location = [...DAV, 'auth_basic "cache";', "auth_basic_user_file users;"];
    await using nginx = await startNginx({ location, users: ["me:pw"] });
    await push(nginx, [lib, app]);
    const netrc = join(temp.dir, "netrc");
    await writeFile(netrc, "machine 127.0.0.1\nlogin me\npassword pw\n");
    assert.equal(await substitute(nginx, [TRUSTED]), false);
    assert.equal(await substitute(nginx, [TRUSTED, `netrc-file = ${netrc}`]), true);
  });

  it("goes on with what nix copy wrote, and nix copy with ours", async () => {
    await using nginx = await startNginx();
    await push(nginx, [lib]);
    const file = join(nginx.dir, `${hashPartOf(lib.info.path)}.narinfo`);
    const library = await readFile(file, "utf8");
    await using nix = await createTestNix({ root: true });
    await copyTo(nginx, nix);
    // Nix leaves alone what is there.
    assert.equal(await readFile(file, "utf8"), library);
    await using cache = await openCache({ name: "web", url: nginx.url, env: {} });
    const hashes = [lib, app].map(({ info }) => hashPartOf(info.path));
    assert.deepEqual(await cache.missing(hashes, signal), new Set());
    // Content addresses need no signature; where we sign, what has neither is replaced.
    assert.equal(await substitute(nginx, [TRUSTED]), true);
    await nginx.requests();
    await copyTo(nginx, nix);
    const puts = (await nginx.requests()).filter((line) => line.startsWith("PUT"));
    assert.deepEqual(puts, []);
  });

  it("makes what nix copy makes", async () => {
    await using ours = await startNginx();
    await using theirs = await startNginx();
    await push(ours, [lib, app], "none");
    await using nix = await createTestNix({ root: true });
    await nix.run("nix-instantiate", ["--eval", "--read-write-mode", "--expr", APP_AND_LIB]);
    await nix.run("nix", ["copy", "--to", `${theirs.url}?compression=none`, app.info.path]);
    const listed = await Promise.all(
      [ours, theirs].map(({ dir }) => readdir(dir, { recursive: true })),
    );
    assert.deepEqual(listed[0]?.toSorted(), listed[1]?.toSorted());
    for (const name of listed[1] ?? []) {
      if (name === "nar") continue;
      const [our, their] = await Promise.all(
        [ours, theirs].map(async ({ dir }) =>
          (await readFile(join(dir, name), "utf8")).replace(/^(?:Sig|CA): .*\n/gm, ""),
        ),
      );
      assert.equal(our, their, name);
    }
  });
});
