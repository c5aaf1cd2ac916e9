import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { constants } from "node:fs";
import { createServer } from "node:net";
import { mkdir, open, readdir, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";

import { tempDir } from "../../test/temp.ts";
import { makeFolder } from "./make-folder.ts";
import { openFile, type OpenFileOptions, readRegularSync } from "./open-file.ts";
import { readBounded, readFailure } from "./read-bounded.ts";

describe("openFile()", { timeout: 10_000 }, () => {
  const refused = async (
    file: string,
    options: OpenFileOptions,
    message: string,
  ): Promise<void> => {
    await assert.rejects(openFile(file, options), { name: "UnfitFileError", message });
  };

  it("refuses at once what is no regular file, where only those are taken", async () => {
    await using temp = await tempDir();
    const pipe = join(temp.dir, "pipe");
    execFileSync("mkfifo", [pipe]);
    await symlink("pipe", join(temp.dir, "link"));
    await using server = createServer().listen(join(temp.dir, "socket"));
    await once(server, "listening");
    const options = { regularOnly: true };
    await refused(pipe, options, "it is a pipe");
    await refused(join(temp.dir, "link"), options, "it is a pipe");
    await refused("/dev/null", options, "it is a device");
    await refused(join(temp.dir, "socket"), {}, "it is a socket");
    await refused(temp.dir, {}, "it is a folder");
  });

  it("follows no link where that is asked for, be it to a usual file", async () => {
    await using temp = await tempDir();
    await writeFile(join(temp.dir, "file"), "x");
    await symlink("file", join(temp.dir, "link"));
    await refused(join(temp.dir, "link"), { noFollow: true }, "it is a link");
    await using opened = await openFile(join(temp.dir, "link"));
    assert.equal(opened.status.size, 1);
  });

  it("takes files of the named owners only", async () => {
    await using temp = await tempDir();
    const file = join(temp.dir, "file");
    await writeFile(file, "x");
    const { uid } = await stat(file);
    await using _own = await openFile(file, { owners: new Set([uid]) });
    await refused(file, { owners: new Set([uid + 1]) }, `it belongs to user ${uid}`);
  });
});

describe("readRegularSync()", { timeout: 10_000 }, () => {
  it("reads a regular file up to the bound, and nothing else", async () => {
    await using temp = await tempDir();
    const file = join(temp.dir, "file");
    await writeFile(file, "abc");
    assert.equal(readRegularSync(file, 3), "abc");
    assert.throws(() => readRegularSync(file, 2), { message: "it is larger than 2 bytes" });
    execFileSync("mkfifo", [join(temp.dir, "pipe")]);
    assert.throws(() => readRegularSync(join(temp.dir, "pipe"), 9), { message: "it is a pipe" });
    assert.throws(() => readRegularSync("/dev/zero", 9), { message: "it is a device" });
  });
});

describe("readBounded()", { timeout: 20_000 }, () => {
  it("reads up to the bound and not beyond, also where a file tells no size", async () => {
    await using temp = await tempDir();
    const file = join(temp.dir, "file");
    await writeFile(file, "äbc");
    assert.equal(await readBounded(file, 4), "äbc");
    await assert.rejects(readBounded(file, 3), { message: "it is larger than 3 bytes" });
    assert.match(await readBounded("/proc/self/status", 1 << 20), /^Name:/);
    await assert.rejects(readBounded("/proc/self/status", 10), /larger than 10 bytes/);
    await assert.rejects(readBounded("/dev/zero", 10), /larger than 10 bytes/);
  });

  it("reads a pipe whose writer comes late, and gives up one that nobody writes", async () => {
    await using temp = await tempDir();
    const pipe = join(temp.dir, "pipe");
    execFileSync("mkfifo", [pipe]);
    const limits = { patienceMs: 50 };
    await assert.rejects(readBounded(pipe, 10, limits), /the pipe was not written to its end/);
    const reading = readBounded(pipe, 10);
    const writer = spawn("sh", ["-c", 'printf a >"$0"; exit', pipe]);
    assert.equal(await reading, "a");
    if (writer.exitCode === null) await once(writer, "exit");
    const given = AbortSignal.abort(new Error("enough"));
    await assert.rejects(readBounded(pipe, 10, { signal: given }), { name: "AbortError" });
  });

  it("takes a pipe that was handed over for ended once nobody writes", async () => {
    await using temp = await tempDir();
    const pipe = join(temp.dir, "pipe");
    execFileSync("mkfifo", [pipe]);
    await using own = await open(pipe, constants.O_RDONLY | constants.O_NONBLOCK);
    assert.equal(await readBounded(`/dev/fd/${own.fd}`, 10), "");
  });

  it("says in words why it failed", async () => {
    await using temp = await tempDir();
    const reasonOf = async (file: string): Promise<string> =>
      readBounded(file, 10).then(() => "", readFailure);
    assert.equal(await reasonOf(temp.dir), "it is a folder");
    assert.equal(await reasonOf(join(temp.dir, "gone")), "it does not exist");
    await symlink("circle", join(temp.dir, "circle"));
    assert.equal(await reasonOf(join(temp.dir, "circle")), "its links lead round in a circle");
    await writeFile(join(temp.dir, "bytes"), Buffer.from([0xff]));
    assert.equal(await reasonOf(join(temp.dir, "bytes")), "it is not UTF-8 text");
  });
});

describe("makeFolder()", { timeout: 10_000 }, () => {
  it("makes what is missing above, for its owner alone, by many at once", async () => {
    await using temp = await tempDir();
    const dir = join(temp.dir, "some/where/deep");
    await Promise.all(Array.from({ length: 20 }, () => makeFolder(dir)));
    assert.deepEqual(await readdir(temp.dir), ["some"]);
    assert.equal((await stat(dir)).mode & 0o777, 0o700);
  });

  it("fails at once where nothing can be made, and where a file has the name", async () => {
    await using temp = await tempDir();
    await assert.rejects(makeFolder("/proc/nowhere/x"), { code: "ENOENT" });
    await assert.rejects(makeFolder("/dev/null/below"), { code: "ENOTDIR" });
    await writeFile(join(temp.dir, "file"), "");
    await assert.rejects(makeFolder(join(temp.dir, "file")), { code: "EEXIST" });
    await mkdir(join(temp.dir, "there"));
    await makeFolder(join(temp.dir, "there"));
  });
});
