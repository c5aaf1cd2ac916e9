import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdir, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";

import { sampleUpload } from "../../../test/sample-upload.ts";
import { tempDir } from "../../../test/temp.ts";
import { printNarInfo } from "../../nix/narinfo.ts";
import { hashPartOf } from "../../nix/store-path.ts";
import { narInfoName, narInfoOf } from "../binary-cache.ts";
import type { CacheReader, NarOptions } from "../reader.ts";
import { createFileReader } from "./file-reader.ts";

const { signal } = new AbortController();
const app = sampleUpload({ name: "app" });
const narInfo = narInfoOf(app.request, app.packed);
const narInfoFile = narInfoName(hashPartOf(app.storePath));

interface Rig extends AsyncDisposable {
  /** The folder that the one of the cache is in. */
  readonly parent: string;
  readonly reader: CacheReader;
  readonly path: (...names: string[]) => string;
  readonly read: (url: string, range?: NarOptions["range"]) => Promise<Buffer>;
}

/** A cache with one path. */
async function createRig(): Promise<Rig> {
  const temp = await tempDir();
  const dir = join(temp.dir, "cache");
  await mkdir(join(dir, "nar"), { recursive: true });
  await writeFile(join(dir, narInfoFile), printNarInfo(narInfo));
  await writeFile(join(dir, narInfo.url), app.file);
  const reader = createFileReader({ dir });
  return {
    parent: temp.dir,
    reader,
    path: (...names) => join(dir, ...names),
    async read(url, range) {
      const chunks: Uint8Array[] = [];
      const options = range === undefined ? { signal } : { signal, range };
      for await (const chunk of reader.nar(url, options)) chunks.push(chunk);
      return Buffer.concat(chunks);
    },
    async [Symbol.asyncDispose]() {
      await reader[Symbol.asyncDispose]();
      await temp[Symbol.asyncDispose]();
    },
  };
}

describe("createFileReader().info()", () => {
  it("tells the store, if the cache says", async () => {
    await using rig = await createRig();
    assert.deepEqual(await rig.reader.info(signal), { storeDir: undefined, priority: undefined });
    await writeFile(rig.path("nix-cache-info"), "StoreDir: /my/store\nPriority: 30\n");
    assert.deepEqual(await rig.reader.info(signal), { storeDir: "/my/store", priority: 30 });
  });

  it("says that the folder is gone", async () => {
    await using rig = await createRig();
    await rm(rig.path(), { recursive: true });
    await assert.rejects(rig.reader.info(signal), { code: "CACHE_UNAVAILABLE" });
  });
});

describe("createFileReader().narInfo()", () => {
  it("reads what is there, and tells apart what is not", async () => {
    await using rig = await createRig();
    assert.deepEqual(await rig.reader.narInfo(app.storePath, signal), narInfo);
    const other = sampleUpload({ name: "other" }).storePath;
    assert.equal(await rig.reader.narInfo(other, signal), undefined);
  });

  it("lacks nothing where the folder is gone: that does not answer", async () => {
    await using rig = await createRig();
    await rm(rig.path(), { recursive: true });
    await assert.rejects(rig.reader.narInfo(app.storePath, signal), {
      code: "CACHE_UNAVAILABLE",
      message: /is gone$/,
    });
  });

  it("refuses what is no narinfo of the path, and waits for nothing", async () => {
    await using rig = await createRig();
    const file = rig.path(narInfoFile);
    const other = narInfoOf(sampleUpload({ name: "other" }).request, app.packed);
    const makes: Readonly<Record<string, () => unknown>> = {
      "it is a pipe": () => execFileSync("mkfifo", [file]),
      "it is a link": () => symlink("/etc/hostname", file),
      "it is a folder": () => mkdir(file),
      "it is larger than": async () => {
        await writeFile(file, "");
        await truncate(file, 2 ** 40);
      },
      "expected a line feed": () => writeFile(file, ""),
      "found that of /nix/store/": () => writeFile(file, printNarInfo(other)),
    };
    for (const [message, make] of Object.entries(makes)) {
      await rm(file, { recursive: true });
      await make();
      const expected = { name: "FormatError", message: new RegExp(message) };
      await assert.rejects(rig.reader.narInfo(app.storePath, signal), expected, message);
    }
  });

  it("rejects with the reason of an aborted signal", async () => {
    await using rig = await createRig();
    const reason = new Error("stop");
    const stopped = AbortSignal.abort(reason);
    await assert.rejects(rig.reader.narInfo(app.storePath, stopped), reason);
    await assert.rejects(rig.reader.info(stopped), reason);
  });
});

describe("createFileReader().narSize()", () => {
  it("tells the size of a file, and what is no file in the cache", async () => {
    await using rig = await createRig();
    assert.equal(await rig.reader.narSize(narInfo.url, signal), app.file.length);
    assert.equal(await rig.reader.narSize("nar/other", signal), undefined);
    assert.equal(await rig.reader.narSize("nar", signal), undefined);
    await assert.rejects(rig.reader.narSize("../outside", signal), { code: "CACHE_PROTOCOL" });
    await symlink("/etc/hostname", rig.path("nar/link"));
    assert.equal(await rig.reader.narSize("nar/link", signal), undefined);
    await rm(rig.path(), { recursive: true });
    await assert.rejects(rig.reader.narSize(narInfo.url, signal), { code: "CACHE_UNAVAILABLE" });
  });
});

describe("createFileReader().nar()", () => {
  it("reads a file, and parts of it with both ends included", async () => {
    await using rig = await createRig();
    assert.deepEqual(await rig.read(narInfo.url), app.file);
    assert.deepEqual(await rig.read(narInfo.url, [3, 7]), app.file.subarray(3, 8));
    assert.deepEqual(await rig.read(narInfo.url, [5, 1e9]), app.file.subarray(5));
    await assert.rejects(rig.read(narInfo.url, [1e6, 2e6]), { code: "CACHE_PROTOCOL" });
  });

  it("reads a large file in chunks of at most 1 MiB", async () => {
    await using rig = await createRig();
    const bytes = Buffer.alloc(5 * 2 ** 20 + 3, "nar");
    await writeFile(rig.path("nar/large"), bytes);
    const sizes: number[] = [];
    for await (const { length } of rig.reader.nar("nar/large", { signal })) sizes.push(length);
    assert.ok(sizes.every((size) => size <= 2 ** 20));
    assert.deepEqual(await rig.read("nar/large"), bytes);
  });

  it("reads an empty file", async () => {
    await using rig = await createRig();
    await writeFile(rig.path("nar/empty"), "");
    assert.deepEqual(await rig.read("nar/empty"), Buffer.alloc(0));
  });

  it("reads nothing outside of the folder", async () => {
    await using rig = await createRig();
    await mkdir(join(rig.parent, "outside"));
    await writeFile(join(rig.parent, "outside/secret"), "secret");
    await symlink("../../outside", rig.path("nar/link"));
    await symlink("../../outside/secret", rig.path("nar/secret"));
    for (const url of [
      "../outside/secret",
      "nar/../../outside/secret",
      join(rig.parent, "outside/secret"),
      `file://${rig.parent}/outside/secret`,
      "https://example.org/nar/x.nar",
      "nar//secret",
      "./nar/secret",
      "nar/link/secret",
      "nar/secret",
      "nar/\0",
      "",
    ]) {
      await assert.rejects(rig.read(url), { code: "CACHE_PROTOCOL" }, url);
    }
  });

  it("refuses pipes and folders, and waits for nothing", async () => {
    await using rig = await createRig();
    execFileSync("mkfifo", [rig.path("nar/pipe")]);
    await assert.rejects(rig.read("nar/pipe"), { code: "CACHE_PROTOCOL", message: /a pipe/ });
    await assert.rejects(rig.read("nar"), { code: "CACHE_PROTOCOL", message: /a folder/ });
    await assert.rejects(rig.read("nar/absent"), {
      code: "CACHE_PROTOCOL",
      message: /does not exist/,
    });
  });

  it("says that a file became shorter while it was read", async () => {
    await using rig = await createRig();
    await writeFile(rig.path("nar/large"), Buffer.alloc(3 * 2 ** 20));
    const reading = async (): Promise<void> => {
      for await (const _ of rig.reader.nar("nar/large", { signal })) {
        await truncate(rig.path("nar/large"), 10);
      }
    };
    await assert.rejects(reading(), { code: "CACHE_PROTOCOL", message: /became shorter/ });
  });
});
