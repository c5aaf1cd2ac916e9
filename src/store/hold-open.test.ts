import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdir, readdir, readlink, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { describe, it } from "node:test";
import { tempDir } from "../../test/temp.ts";
import { fromBaseName, type StorePath } from "../nix/store-path.ts";
import { holdOpen } from "./hold-open.ts";
import { physicalPathOf, type StoreLayout } from "./layout.ts";

const never = new AbortController().signal;

interface Sample extends AsyncDisposable {
  readonly layout: StoreLayout;
  /** A folder, a link that leads nowhere, an unreadable file, and a path without file. */
  readonly paths: readonly StorePath[];
}

async function sampleStore(): Promise<Sample> {
  const temp = await tempDir();
  const dir = await realpath(temp.dir);
  const storeDir = join(dir, "store");
  const layout = {
    storeDir,
    realStoreDir: storeDir,
    stateDir: join(dir, "var"),
    logDir: join(dir, "log"),
  };
  const paths = ["folder", "link", "file", "absent"].map((name, index) =>
    fromBaseName(`${`${index}`.repeat(32)}-${name}`, storeDir),
  );
  const [folder, link, file] = paths.map((path) => physicalPathOf(layout, path));
  assert.ok(folder && link && file);
  await mkdir(folder, { recursive: true });
  await symlink("/nonexistent", link);
  await writeFile(file, "", { mode: 0 });
  return { layout, paths, [Symbol.asyncDispose]: () => temp[Symbol.asyncDispose]() };
}

/** The store paths that this process has open, as a collector sees them. */
async function openPaths({ layout }: Sample): Promise<string[]> {
  const names = await readdir("/proc/self/fd");
  const targets = await Promise.all(
    names.map((name) => readlink(`/proc/self/fd/${name}`).catch(() => "")),
  );
  return targets.filter((target) => target.startsWith(layout.realStoreDir)).toSorted();
}

/** A collector that is at work, and treats whoever connects like this. */
async function collector(
  { layout }: Sample,
  onConnection: (socket: Socket) => void,
): Promise<Server & AsyncDisposable> {
  await mkdir(join(layout.stateDir, "gc-socket"), { recursive: true });
  const server = createServer(onConnection);
  server.listen(join(layout.stateDir, "gc-socket/socket"));
  await once(server, "listening");
  return server;
}

describe("holdOpen()", { skip: process.platform === "linux" ? false : "it reads /proc" }, () => {
  it("has the paths open until disposed, links and unreadable files too", async () => {
    await using sample = await sampleStore();
    const before = await openPaths(sample);
    const hold = await holdOpen(sample.layout, sample.paths, never);
    assert.deepEqual(await openPaths(sample), sample.paths.slice(0, 3));
    await hold[Symbol.asyncDispose]();
    assert.deepEqual([before, await openPaths(sample)], [[], []]);
  });

  it("tells a collector that is at work, and waits for its word", async () => {
    await using sample = await sampleStore();
    const told = Promise.withResolvers<string>();
    await using _server = await collector(sample, (socket) => {
      told.resolve(text(socket));
      for (const _path of sample.paths) socket.write("1");
    });
    await using _hold = await holdOpen(sample.layout, sample.paths, never);
    assert.equal(await told.promise, sample.paths.map((path) => `${path}\n`).join(""));
  });

  it("goes on when the collector finishes meanwhile", async () => {
    await using sample = await sampleStore();
    await using _server = await collector(sample, (socket) => {
      socket.resume();
      socket.end("1");
    });
    await using _hold = await holdOpen(sample.layout, sample.paths, never);
    assert.equal((await openPaths(sample)).length, 3);
  });

  it("lets go when it is interrupted while the collector is silent", async () => {
    await using sample = await sampleStore();
    const stop = new AbortController();
    const reason = new Error("Interrupted");
    await using _server = await collector(sample, (socket) => {
      stop.abort(reason);
      socket.destroy();
    });
    await assert.rejects(holdOpen(sample.layout, sample.paths, stop.signal), reason);
    assert.deepEqual(await openPaths(sample), []);
  });

  it("fails where it cannot know whether a collector is at work", async () => {
    await using sample = await sampleStore();
    const layout = { ...sample.layout, stateDir: `/${"long/".repeat(30)}` };
    await assert.rejects(holdOpen(layout, sample.paths, never), { code: "STORE_FAILED" });
  });

  it("fails where a path cannot be opened", async () => {
    await using sample = await sampleStore();
    await rm(sample.layout.storeDir, { recursive: true });
    await writeFile(sample.layout.storeDir, "no folder");
    await assert.rejects(holdOpen(sample.layout, sample.paths, never), { code: "STORE_FAILED" });
  });
});
