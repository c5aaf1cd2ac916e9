import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";

import { tempDir } from "../../test/temp.ts";
import { NarReader, type NarVisitor } from "../nix/nar-reader.ts";
import { NarSource, type NarSourceOptions } from "./nar-source.ts";

function readAll(path: string, chunkBytes: number, options: NarSourceOptions = {}): Buffer {
  using source = new NarSource(path, options);
  const pieces: Buffer[] = [];
  for (;;) {
    const chunk = Buffer.alloc(chunkBytes);
    const got = source.read(chunk);
    pieces.push(chunk.subarray(0, got));
    if (got < chunkBytes) return Buffer.concat(pieces);
  }
}

/** The tree that `order.nar` of the golden data was made of. */
function makeOrderTree(root: string): void {
  fs.mkdirSync(join(root, "sub"), { recursive: true });
  for (const name of ["10", "9", "B", "Z", "_z", "a", "a b", "a-b", "a.b", "ab", "~x", "é"]) {
    fs.writeFileSync(join(root, name), name);
  }
  fs.writeFileSync(join(root, "sub/f"), "x", { mode: 0o700 });
  fs.symlinkSync("a", join(root, "sub/link"));
}

interface Recorder {
  readonly events: unknown[];
  readonly visitor: NarVisitor;
}

/** Keeps all that a visitor is told but for the contents of files. */
function recorder(): Recorder {
  const events: unknown[] = [];
  const visitor: NarVisitor = {
    directoryStart: () => events.push("folder"),
    directoryEnd: () => events.push("end of folder"),
    entry: (name) => events.push(Buffer.from(name)),
    fileStart: (file) => events.push(file),
    fileEnd: () => events.push("end of file"),
    symlink: (target) => events.push(Buffer.from(target)),
  };
  return { events, visitor };
}

/** The file that a descriptor of this process leads to; empty once it is closed. */
function linkOf(fd: string): string {
  return fs.existsSync(`/proc/self/fd/${fd}`) ? fs.readlinkSync(`/proc/self/fd/${fd}`) : "";
}

function dump(path: string): Buffer {
  return execFileSync("nix-store", ["--dump", path], { maxBuffer: 1 << 30 });
}

describe("NarSource where no more files may be open", () => {
  it("says so, and nothing of the disk", async () => {
    await using temp = await tempDir();
    const file = join(temp.dir, "f");
    fs.writeFileSync(file, "x");
    const script = `
      import fs from "node:fs";
      import { NarSource } from ${JSON.stringify(new URL("nar-source.ts", import.meta.url).href)};
      try { for (;;) fs.openSync(process.argv[1]); } catch {}
      try { new NarSource(process.argv[1]).read(Buffer.alloc(1000)); }
      catch (error) { fs.writeSync(1, error.code + " " + error.hint); }`;
    const args = ["--input-type=module-typescript", "-e", script, file];
    const shell = ["-c", 'ulimit -n 64; exec "$@"', "sh", process.execPath, ...args];
    const told = execFileSync("sh", shell, { encoding: "utf8" });
    assert.match(told, /^OPEN_FILES_LIMIT Raise the limit of open files/);
  });
});

describe("NarSource", () => {
  it("writes the golden archive of Nix for every chunk size from 1 to 1025", async () => {
    await using temp = await tempDir();
    makeOrderTree(`${temp.dir}/t`);
    const golden = fs.readFileSync(new URL("../../test/vectors/nar/order.nar", import.meta.url));
    for (let size = 1; size <= 1025; size += 1) {
      assert.ok(readAll(`${temp.dir}/t`, size).equals(golden), `chunk size ${size}`);
    }
  });

  it("writes what nix-store --dump writes for files, links and empty folders alone", async () => {
    await using temp = await tempDir();
    const at = (name: string): string => join(temp.dir, name);
    fs.writeFileSync(at("empty"), "");
    fs.writeFileSync(at("nine"), "123456789");
    fs.writeFileSync(at("exec"), "#!/bin/sh\n", { mode: 0o755 });
    fs.symlinkSync("../some/target", at("sym"));
    fs.mkdirSync(at("dir"));
    fs.writeFileSync(at("exec-by-others"), "for its owner it is plain");
    fs.chmodSync(at("exec-by-others"), 0o655);
    for (const name of ["empty", "nine", "exec", "sym", "dir", "exec-by-others"]) {
      assert.deepEqual(readAll(at(name), 64), dump(at(name)), name);
    }
  });

  it("writes what nix-store --dump writes for odd names, deep folders and large files", async () => {
    await using temp = await tempDir();
    const root = Buffer.from(`${temp.dir}/t/`);
    const deep = join(temp.dir, "t", ...Array.from({ length: 50 }, () => "d"));
    fs.mkdirSync(deep, { recursive: true });
    fs.writeFileSync(join(deep, "leaf"), Buffer.alloc(3_000_001, 7));
    fs.writeFileSync(Buffer.concat([root, Buffer.from([0xff, 0xfe, 0x41])]), "not UTF-8");
    fs.writeFileSync(`${temp.dir}/t/\u{1F980}`, "astral");
    fs.writeFileSync(`${temp.dir}/t/\uE000`, "private use");
    fs.symlinkSync("x".repeat(4000), `${temp.dir}/t/long-target`);
    fs.writeFileSync(`${temp.dir}/t/${"n".repeat(255)}`, "long name");
    const sha = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");
    assert.equal(sha(readAll(`${temp.dir}/t`, 70_001)), sha(dump(`${temp.dir}/t`)));
  });

  it("tells of every node what a reader of the archive is told", async () => {
    await using temp = await tempDir();
    const root = join(temp.dir, "t");
    makeOrderTree(root);
    fs.mkdirSync(join(root, "sub/empty"));
    fs.writeFileSync(join(root, "sub/large"), Buffer.alloc(100_003));
    for (const path of [root, join(root, "sub/f"), join(root, "sub/link"), join(root, "a")]) {
      const [told, read] = [recorder(), recorder()];
      const nar = readAll(path, 1000, { visitor: told.visitor });
      const reader = new NarReader(read.visitor);
      reader.write(nar);
      reader.end();
      assert.deepEqual(told.events, read.events);
    }
  });

  it("says that a path is gone", async () => {
    await using temp = await tempDir();
    assert.throws(() => readAll(`${temp.dir}/none`, 64), { code: "STORE_PATH_GONE" });
  });

  it("refuses special files instead of waiting for them", async () => {
    await using temp = await tempDir();
    execFileSync("mkfifo", [`${temp.dir}/pipe`]);
    assert.throws(() => readAll(temp.dir, 64), { code: "STORE_PATH_CORRUPT" });
  });

  it("refuses what took the place of a file while it was read, and does not wait for it", async () => {
    await using temp = await tempDir();
    const at = `${temp.dir}/t/f`;
    // Opens the pipe for a reader that waits after all, so that this fails and does not hang.
    const rescue = spawn("sh", ["-c", `sleep 5; : <>${at}`], { stdio: "ignore" });
    const replacements = {
      "found a symlink": () => fs.symlinkSync("/etc/passwd", at),
      "found something else": () => void execFileSync("mkfifo", [at]),
    };
    for (const [message, replace] of Object.entries(replacements)) {
      fs.rmSync(`${temp.dir}/t`, { recursive: true, force: true });
      fs.mkdirSync(`${temp.dir}/t`);
      fs.writeFileSync(at, "x");
      using source = new NarSource(`${temp.dir}/t`);
      source.read(Buffer.alloc(32)); // the folder was listed
      fs.rmSync(at);
      replace();
      const started = performance.now();
      assert.throws(() => source.read(Buffer.alloc(2000)), {
        code: "STORE_PATH_CORRUPT",
        message: new RegExp(message),
      });
      assert.ok(performance.now() - started < 4_000, message);
    }
    rescue.kill();
  });

  it("closes the file that it was reading when it is disposed of", async () => {
    await using temp = await tempDir();
    fs.writeFileSync(`${temp.dir}/f`, Buffer.alloc(1000));
    const isOpen = (): boolean =>
      fs.readdirSync("/proc/self/fd").some((fd) => linkOf(fd) === `${temp.dir}/f`);
    {
      using source = new NarSource(`${temp.dir}/f`);
      source.read(Buffer.alloc(500));
      assert.ok(isOpen());
    }
    assert.ok(!isOpen());
  });

  it("says that a file cannot be read", () => {
    assert.throws(() => readAll(`/tmp/${"long".repeat(100)}`, 64), {
      code: "STORE_PATH_UNREADABLE",
      message: /ENAMETOOLONG/,
    });
  });

  it("names a file in bounded words, by both ends of its path", () => {
    assert.throws(() => readAll(`/tmp/${"deep/".repeat(1000)}end`, 64), {
      message: /^Cannot read "\/tmp\/deep\/[de/p]{200,300}…[de/p]{200,300}\/end": ENAMETOOLONG$/,
    });
  });

  it("refuses a file that became shorter while it was read", async () => {
    await using temp = await tempDir();
    fs.writeFileSync(`${temp.dir}/f`, Buffer.alloc(1000));
    using source = new NarSource(`${temp.dir}/f`);
    source.read(Buffer.alloc(200));
    fs.truncateSync(`${temp.dir}/f`, 10);
    assert.throws(() => source.read(Buffer.alloc(2000)), { code: "STORE_PATH_CORRUPT" });
  });

  it("cuts the names that macOS stores for names differing only in case", async () => {
    await using temp = await tempDir();
    fs.mkdirSync(`${temp.dir}/hacked`);
    fs.mkdirSync(`${temp.dir}/plain`);
    fs.writeFileSync(`${temp.dir}/hacked/README~nix~case~hack~1`, "1");
    fs.writeFileSync(`${temp.dir}/hacked/readme`, "2");
    fs.writeFileSync(`${temp.dir}/plain/README`, "1");
    fs.writeFileSync(`${temp.dir}/plain/readme`, "2");
    assert.deepEqual(
      readAll(`${temp.dir}/hacked`, 64, { caseHack: true }),
      dump(`${temp.dir}/plain`),
    );
    fs.writeFileSync(`${temp.dir}/hacked/README`, "3");
    const refused = (): Buffer => readAll(`${temp.dir}/hacked`, 64, { caseHack: true });
    assert.throws(refused, { code: "STORE_PATH_CORRUPT", message: /two entries named "README"/ });
  });
});
