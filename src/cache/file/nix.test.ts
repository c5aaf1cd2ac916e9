import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmod, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { createTestNix } from "../../../test/nix.ts";
import { NOBODY } from "../../../test/ordinary-user.ts";
import {
  APP_AND_LIB,
  assertHasApp,
  packAppAndLib,
  type PackedPath,
  publishPacked,
  substituteApp,
  TRUSTED,
} from "../../../test/packed-path.ts";
import { type TempDir, tempDir } from "../../../test/temp.ts";
import { hashPartOf } from "../../nix/store-path.ts";
import type { Compression } from "../contract.ts";
import { createFileCache } from "./file-cache.ts";
import { createFileReader } from "./file-reader.ts";

const { signal } = new AbortController();

async function push(
  dir: string,
  packed: readonly PackedPath[],
  compression: Compression,
): Promise<void> {
  await using cache = createFileCache({ name: "folder", dir });
  for (const each of packed) await publishPacked(cache, each, compression);
}

describe("a folder and Nix itself", () => {
  let temp: TempDir;
  let lib: PackedPath;
  let app: PackedPath;
  before(async () => {
    temp = await tempDir();
    await chmod(temp.dir, 0o755);
    ({ app, lib } = await packAppAndLib());
  });
  after(() => temp[Symbol.asyncDispose]());

  const substitute = (dir: string, lines: readonly string[]): Promise<boolean> =>
    substituteApp({ app, lib }, { url: `file://${dir}`, lines });

  for (const method of ["zstd", "xz", "none"] as const) {
    it(`is substituted from with signatures required, compressed with ${method}`, async () => {
      const dir = join(temp.dir, method);
      await push(dir, [lib, app], method);
      assert.equal(await substitute(dir, []), false);
      assert.equal(await substitute(dir, [TRUSTED]), true);
    });
  }

  it("is copied from by nix copy", async () => {
    const dir = join(temp.dir, "copy");
    await push(dir, [lib, app], "zstd");
    await using nix = await createTestNix({ root: true });
    const copy = ["copy", "--from", `file://${dir}`, app.info.path];
    const options = { env: { NIX_CONFIG: `require-sigs = true\n${TRUSTED}` } };
    const refused = await nix.run("nix", copy, { allowFailure: true });
    assert.notEqual(refused.status, 0);
    await nix.run("nix", copy, options);
    await assertHasApp(nix, { app, lib });
  });

  it("is read by a user who may not write there", async () => {
    await using nix = await createTestNix();
    const dir = join(nix.dir, "foreign");
    await push(dir, [lib, app], "zstd");
    const isRoot = process.getuid?.() === 0;
    execFileSync("chmod", ["-R", "a-w", dir]);
    const user = isRoot ? { uid: NOBODY, gid: NOBODY } : {};
    const env = { NIX_REMOTE: "dummy://", HOME: join(nix.dir, "tmp") };
    const args = ["path-info", "--store", `file://${dir}`, "--recursive", app.info.path];
    const found = await nix.run("nix", args, {
      ...user,
      env: { ...env, NIX_STORE_DIR: "/nix/store" },
    });
    execFileSync("chmod", ["-R", "u+w", dir]);
    assert.deepEqual(
      new Set(found.stdout.trim().split("\n")),
      new Set([app.info.path, lib.info.path]),
    );
  });

  it("goes on with what nix copy wrote, and nix copy with ours", async () => {
    const dir = join(temp.dir, "both");
    await push(dir, [lib], "zstd");
    const library = await readFile(join(dir, `${hashPartOf(lib.info.path)}.narinfo`), "utf8");
    await using nix = await createTestNix({ root: true });
    await nix.run("nix-instantiate", ["--eval", "--read-write-mode", "--expr", APP_AND_LIB]);
    await nix.run("nix", ["copy", "--to", `file://${dir}?compression=zstd`, app.info.path]);
    // Nix leaves alone what is there.
    const present = await readFile(join(dir, `${hashPartOf(lib.info.path)}.narinfo`), "utf8");
    assert.equal(present, library);
    await using cache = createFileCache({ name: "folder", dir });
    const hashes = [lib, app].map(({ info }) => hashPartOf(info.path));
    assert.deepEqual(await cache.missing(hashes, signal), new Set());
    const theirs = await createFileReader({ dir }).narInfo(app.info.path, signal);
    assert.equal(theirs?.narHash, app.info.narHash);
    // The narinfo that Nix wrote has no signature, so a push replaces it.
    assert.equal(await substitute(dir, [TRUSTED]), true);
    await push(dir, [app], "zstd");
    const ours = await createFileReader({ dir }).narInfo(app.info.path, signal);
    assert.equal(ours?.signatures.length, 1);
  });

  it("makes what nix copy makes, but for the folder of what is not whole", async () => {
    const [ours, theirs] = [join(temp.dir, "ours"), join(temp.dir, "theirs")];
    await push(ours, [lib, app], "none");
    await using nix = await createTestNix({ root: true });
    await nix.run("nix-instantiate", ["--eval", "--read-write-mode", "--expr", APP_AND_LIB]);
    await nix.run("nix", ["copy", "--to", `file://${theirs}?compression=none`, app.info.path]);
    for (const folder of [".partial", "nar/.partial"])
      await rm(join(ours, folder), { recursive: true });
    const listed = await Promise.all(
      [ours, theirs].map((dir) => readdir(dir, { recursive: true })),
    );
    assert.deepEqual(listed[0]?.toSorted(), listed[1]?.toSorted());
    for (const name of [
      "nix-cache-info",
      ...(listed[1] ?? []).filter((each) => each.endsWith(".nar")),
    ]) {
      assert.deepEqual(await readFile(join(ours, name)), await readFile(join(theirs, name)), name);
    }
    for (const { info } of [lib, app]) {
      const name = `${hashPartOf(info.path)}.narinfo`;
      const [our, their] = await Promise.all(
        [ours, theirs].map(async (dir) =>
          (await readFile(join(dir, name), "utf8")).replace(/^(?:Sig|CA): .*\n/gm, ""),
        ),
      );
      assert.equal(our, their);
    }
  });
});
