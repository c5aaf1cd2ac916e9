import assert from "node:assert/strict";
import { once } from "node:events";
import { createCipheriv, randomBytes } from "node:crypto";
import { chmod, mkdir, open, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { hashPartOf, parseStorePath } from "../src/nix/store-path.ts";
import { type NixRecord, nixRecords } from "./crash/cache-check.ts";
import { resultOf } from "./handpick.ts";
import { KindReader, startPush } from "./kind-push.ts";
import { KIND_ROWS, type KindRow } from "./kind-rig.ts";
import { IS_LONG } from "./long.ts";
import { createTestNix, type TestNix } from "./nix.ts";

const TINY_PATHS = IS_LONG ? 10_000 : 100;
const HUGE_BYTES = 3 * 2 ** 30;
/** What a push may have in memory at most, whatever it sends. */
const MOST_MEMORY_BYTES = 512 << 20;

describe("handpick push of paths of many forms", { timeout: 3_600_000 }, () => {
  let nix: TestNix;
  let odd: readonly string[];
  let tiny: readonly string[];
  let records: ReadonlyMap<string, NixRecord>;
  before(async () => {
    nix = await createTestNix({ root: true });
    odd = await addOddPaths(nix);
    tiny = await addTinyPaths(nix);
    records = new Map((await nixRecords(nix)).map((record) => [record.path, record]));
  });
  after(() => nix[Symbol.asyncDispose]());

  for (const row of KIND_ROWS) {
    describe(`to ${row.name}`, { skip: row.skip }, () => {
      it("takes odd names, and paths with nothing in them", async () => {
        await using rig = await row.start();
        const { status, stderr } = await resultOf(await startPush({ nix, rig }, odd));
        assert.equal(status, 0, stderr);
        const meant = odd.flatMap((path) => records.get(path) ?? []);
        assert.equal((await new KindReader(rig, meant).look()).size, odd.length);
      });

      it(`takes ${TINY_PATHS} tiny paths`, async () => {
        await using rig = await row.start();
        const { status, stderr } = await resultOf(await startPush({ nix, rig }, tiny));
        assert.equal(status, 0, stderr);
        for (const path of tiny) {
          const found = await rig.find(hashPartOf(parseStorePath(path)));
          assert.equal(found?.narHash, records.get(path)?.narHash, path);
        }
      });
    });
  }
});

/** Files and folders that each have something odd about them. */
async function addOddPaths(nix: TestNix): Promise<string[]> {
  const names = ["a", "0+plus.dot_under-?what=it", "_".repeat(211), "C++"];
  const paths = await Promise.all(names.map((name) => nix.add(name, name)));
  const folder = join(nix.dir, "odd");
  await mkdir(join(folder, "empty"), { recursive: true });
  await writeFile(join(folder, "nothing"), "");
  await writeFile(join(folder, "run me"), "#!/bin/sh\n");
  await chmod(join(folder, "run me"), 0o755);
  await symlink("../no/such\nplace", join(folder, "link"));
  for (const name of [
    "new\nline",
    "quote\"'`",
    "$(x) & * ? #%25",
    "ü",
    "u\u0308",
    "~nix~case~hack~1",
    ".hidden",
    "A",
    "a",
  ]) {
    await writeFile(join(folder, name), name);
  }
  await writeFile(Buffer.concat([Buffer.from(`${folder}/`), Buffer.of(0xff, 0xfe)]), "no UTF-8");
  for (const each of [
    folder,
    join(folder, "empty"),
    join(folder, "nothing"),
    join(folder, "link"),
  ]) {
    paths.push((await nix.run("nix-store", ["--add", each])).stdout.trim());
  }
  return paths;
}

/** Files that refer to some of those before them. */
async function addTinyPaths(nix: TestNix): Promise<string[]> {
  const expression = `
    let
      paths = builtins.genList (n:
        builtins.toFile "tiny-\${toString n}"
          "\${toString n} \${if n == 0 then "" else builtins.elemAt paths (n / 7)}") ${TINY_PATHS};
    in toString paths`;
  const evaluate = ["--eval", "--read-write-mode", "-E", expression];
  const { stdout } = await nix.run("nix-instantiate", evaluate);
  return (JSON.parse(stdout) as string).split(" ");
}

const whyNotHuge = IS_LONG ? false : "it takes minutes: set HANDPICK_TEST_LONG";

describe("handpick push of a huge path", { timeout: 3_600_000, skip: whyNotHuge }, () => {
  let nix: TestNix;
  let huge: string;
  before(async () => {
    nix = await createTestNix({ root: true });
    const file = join(nix.dir, "huge");
    await writeRandom(file, HUGE_BYTES);
    huge = (await nix.run("nix-store", ["--add", file])).stdout.trim();
  });
  after(() => nix[Symbol.asyncDispose]());

  for (const row of KIND_ROWS) {
    const skip = row.isInMemory === true ? "the fake would have all of it in memory" : row.skip;
    it(`to ${row.name} needs no more memory than one of a large path`, { skip }, async (t) => {
      await pushHuge(t, row, { nix, huge });
    });
  }
});

async function pushHuge(
  t: TestContext,
  row: KindRow,
  { nix, huge }: { readonly nix: TestNix; readonly huge: string },
): Promise<void> {
  await using rig = await row.start();
  const push = await startPush({ nix, rig }, [huge]);
  const ended = resultOf(push);
  const peak = mostMemory(push.pid ?? 0, once(push, "exit"));
  const { status, stderr } = await ended;
  assert.equal(status, 0, stderr);
  const bytes = await peak;
  t.diagnostic(`${Math.round(bytes / 2 ** 20)} MiB at most`);
  assert.ok(bytes > 0 && bytes < MOST_MEMORY_BYTES, `${bytes} bytes`);
  await using reader = await createTestNix({ root: true });
  const config = `substituters = ${rig.readUrl}\nrequire-sigs = false`;
  await reader.run("nix-store", ["--realise", huge], { env: { NIX_CONFIG: config } });
  await reader.run("nix-store", ["--verify", "--check-contents"]);
}

/** The most memory that a process had until it ended, in bytes; Linux tells only while it runs. */
async function mostMemory(pid: number, ended: Promise<unknown>): Promise<number> {
  const over = new AbortController();
  void ended.then(() => over.abort());
  let most = 0;
  while (!over.signal.aborted) {
    const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
    most = Math.max(most, Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024);
    await sleep(100);
  }
  return most;
}

async function writeRandom(file: string, bytes: number): Promise<void> {
  await using handle = await open(file, "w");
  const cipher = createCipheriv("aes-128-ctr", randomBytes(16), randomBytes(16));
  const zeros = Buffer.alloc(16 << 20);
  for (let written = 0; written < bytes; written += zeros.length) {
    await handle.write(cipher.update(zeros));
  }
}
