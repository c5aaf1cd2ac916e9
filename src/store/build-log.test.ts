import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmod, mkdir, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { after, before, describe, it } from "node:test";

import { createTestNix } from "../../test/nix.ts";
import { asOrdinaryUser } from "../../test/ordinary-user.ts";
import { type TempDir, tempDir } from "../../test/temp.ts";
import { parseStorePath } from "../nix/store-path.ts";
import { type BuildLog, type BuildLogOptions, findBuildLog, readBuildLog } from "./build-log.ts";
import type { StoreLayout } from "./layout.ts";
import { parseStoreUri } from "./store-uri.ts";

const NAME = `${"a".repeat(32)}-hello.drv`;
const DRV = parseStorePath(`/nix/store/${NAME}`);
const PLAIN = `drvs/aa/${NAME.slice(2)}`;
const OPTIONS: BuildLogOptions = { maxBytes: 1000, signal: new AbortController().signal };

function bzip2(text: string): Buffer {
  return execFileSync("bzip2", ["--compress", "--stdout"], { input: text });
}

async function put(layout: StoreLayout, name: string, contents: string | Buffer): Promise<string> {
  const file = join(layout.logDir, name);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, contents);
  return file;
}

describe("findBuildLog()", { timeout: 60_000 }, () => {
  for (const root of [false, true]) {
    it(`finds logs where Nix does in ${root ? "a chroot store" : "a store"}`, async () => {
      await using nix = await createTestNix({ root });
      const { layout } = parseStoreUri(nix.env["NIX_REMOTE"] ?? "auto", nix.env);
      const drv = parseStorePath(`${layout.storeDir}/${NAME}`, layout.storeDir);
      assert.equal(await findBuildLog(layout, drv), undefined);
      // The later, the sooner it is looked at.
      const names = [`drvs/${NAME}.bz2`, `drvs/${NAME}`, `${PLAIN}.bz2`, PLAIN];
      for (const name of names) {
        const isCompressed = name.endsWith(".bz2");
        const text = `the log in ${name}\n`;
        const file = await put(layout, name, isCompressed ? bzip2(text) : text);
        const found = await findBuildLog(layout, drv);
        assert.ok(found !== undefined && "file" in found);
        assert.deepEqual([found.file, found.isCompressed], [file, isCompressed]);
        const told = await nix.run("nix-store", ["--read-log", drv]);
        assert.equal(told.stdout, text);
        assert.equal(textOf(await readBuildLog(found, OPTIONS)), text);
      }
    });
  }
});

function textOf(log: BuildLog): string {
  return "bytes" in log ? Buffer.from(log.bytes).toString() : `fault: ${log.fault}`;
}

describe("readBuildLog()", () => {
  let temp: TempDir;
  let layout: StoreLayout;
  before(async () => {
    temp = await tempDir();
    await chmod(temp.dir, 0o755);
    layout = { ...parseStoreUri("auto", {}).layout, logDir: join(temp.dir, "log") };
  });
  after(() => temp[Symbol.asyncDispose]());

  /** Reads what is found after `name` was made, and removes that. */
  async function read(
    name: string,
    contents: string | Buffer,
    options: Partial<BuildLogOptions> = {},
  ): Promise<string> {
    const file = await put(layout, name, contents);
    try {
      const found = await findBuildLog(layout, DRV);
      return textOf(await readBuildLog(found ?? assert.fail(), { ...OPTIONS, ...options }));
    } finally {
      await rm(file);
    }
  }

  it("reads an empty log, and one of any bytes", async () => {
    assert.equal(await read(PLAIN, ""), "");
    assert.equal(await read(`${PLAIN}.bz2`, bzip2("")), "");
    assert.equal(await read(PLAIN, Buffer.of(0xff, 0)), Buffer.of(0xff, 0).toString());
  });

  it("takes a log up to its limit and no byte more", async () => {
    const fault = "fault: it has more than 1000 bytes";
    const [most, over] = ["x".repeat(1000), "x".repeat(1001)];
    assert.equal(await read(PLAIN, most), most);
    assert.equal(await read(`${PLAIN}.bz2`, bzip2(most)), most);
    assert.equal(await read(PLAIN, over), fault);
    assert.equal(await read(`${PLAIN}.bz2`, bzip2(over)), fault);
    assert.equal(await read(`${PLAIN}.bz2`, bzip2("x".repeat(50_000_000))), fault);
    assert.equal(await read(`${PLAIN}.bz2`, Buffer.alloc(1001)), fault);
  });

  it("says that a compressed log is damaged, or was not written to its end", async () => {
    assert.match(await read(`${PLAIN}.bz2`, "not bzip2"), /^fault: bzip2 cannot decompress it: ./);
    const whole = bzip2("x".repeat(900));
    const fault = await read(`${PLAIN}.bz2`, whole.subarray(0, whole.length - 5));
    assert.match(fault, /^fault: bzip2 cannot decompress it: \P{C}{1,200}$/u);
  });

  it("says that there is no bzip2", async () => {
    const fault = await read(`${PLAIN}.bz2`, bzip2("x"), { env: { PATH: temp.dir } });
    assert.equal(fault, "fault: it is compressed, and bzip2 is not on PATH");
  });

  it("ends a bzip2 that takes too long", async () => {
    const bin = join(temp.dir, "bin");
    await mkdir(bin);
    await writeFile(join(bin, "bzip2"), "#!/bin/sh\nexec sleep 60\n", { mode: 0o755 });
    const env = { PATH: `${bin}:${process.env["PATH"]}` };
    const fault = await read(`${PLAIN}.bz2`, bzip2("x"), { env, patienceMs: 20 });
    assert.equal(fault, "fault: bzip2 took more than 0.02 s to decompress it");
    const reason = new Error("stop");
    const stopped = new AbortController();
    const reading = read(`${PLAIN}.bz2`, bzip2("x"), { env, signal: stopped.signal });
    stopped.abort(reason);
    await assert.rejects(reading, reason);
  });

  it("does not follow a link, wait for a pipe or read a folder", async () => {
    const file = join(layout.logDir, PLAIN);
    const makers: Readonly<Record<string, () => unknown>> = {
      "a link": () => symlink("/etc/hostname", file),
      "a pipe": () => execFileSync("mkfifo", [file]),
      "a folder": () => mkdir(file),
    };
    for (const [kind, make] of Object.entries(makers)) {
      await mkdir(dirname(file), { recursive: true });
      await make();
      const found = await findBuildLog(layout, DRV);
      const log = await readBuildLog(found ?? assert.fail(), OPTIONS);
      assert.equal(textOf(log), `fault: it cannot be read: it is ${kind}`);
      await rm(file, { recursive: true });
    }
  });

  it("says that it may not be read", async () => {
    const file = await put(layout, PLAIN, "x");
    await chmod(file, 0o000);
    const fault = "fault: it cannot be read: permission denied";
    const read = async (): Promise<string> => {
      const found = await findBuildLog(layout, DRV);
      return textOf(await readBuildLog(found ?? assert.fail(), OPTIONS));
    };
    assert.equal(await asOrdinaryUser(read), fault);
    await chmod(join(temp.dir, "log"), 0o000);
    assert.equal(await asOrdinaryUser(read), fault);
    await chmod(join(temp.dir, "log"), 0o755);
    await rm(file);
  });
});
