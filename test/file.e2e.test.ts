import assert from "node:assert/strict";
import { mkdir, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { after, before, beforeEach, describe, it } from "node:test";

import { BUNDLE, handpick, type Result } from "./handpick.ts";
import { codeBlocks, readProject } from "./markdown.ts";
import { createTestNix, TOY_PACKAGES } from "./nix.ts";
import { smallDisk } from "./small-disk.ts";
import { SyncRig } from "./sync/sync-rig.ts";

describe("a cache that is a folder", { timeout: 180_000 }, () => {
  let rig: SyncRig;
  let folder: string;
  let url: string;
  let key: string;
  let publicKey: string;

  before(async () => {
    rig = await SyncRig.create();
    key = join(rig.nix.dir, "key");
    publicKey = (await run("keygen", "--out", key, "usb-1")).stdout.trim();
  });
  beforeEach(async () => {
    folder = join(rig.nix.dir, "disk/cache");
    await rm(join(rig.nix.dir, "disk"), { recursive: true, force: true });
    await mkdir(join(rig.nix.dir, "disk"));
    url = `file://${rig.nix.dir}/disk/cache`;
    await configure();
  });
  after(async () => {
    await rig[Symbol.asyncDispose]();
  });

  const run = (...args: readonly string[]): Promise<Result> =>
    handpick(rig.nix, args, { env: { ...rig.env, CACHIX_AUTH_TOKEN: "token-of-the-user" } });
  const done = async (...args: readonly string[]): Promise<Result> => {
    const result = await run(...args);
    assert.equal(result.status, 0, `${args.join(" ")}: ${result.stderr}${result.stdout}`);
    return result;
  };
  async function configure(...lines: readonly string[]): Promise<void> {
    const table = `[caches.usb]\nurl = "${url}"\nsigning-key-file = "${key}"\n`;
    await writeFile(join(rig.nix.dir, "handpick.toml"), `${table}${lines.join("\n")}\n`);
  }
  /** Names of the paths that the cache holds. */
  async function held(): Promise<string[]> {
    const names = await readdir(folder).catch(() => []);
    const files = names.filter((name) => name.endsWith(".narinfo"));
    const infos = await Promise.all(files.map((name) => readFile(join(folder, name), "utf8")));
    return infos.map((info) => /^StorePath: \S+?-(\S+)$/m.exec(info)?.[1] ?? info).toSorted();
  }

  it("gets the whole closure by --to, and is read back by Nix", async () => {
    const { app } = await rig.select("home", [{ packages: ["app"] }]);
    await writeFile(join(rig.nix.dir, "handpick.toml"), "");
    const plan = await done("plan", "--to", url, app);
    assert.match(plan.stdout, /2 selected, 2 to push/);
    assert.deepEqual(await held(), []);
    await done("push", "--to", `${url}/`, app);
    assert.deepEqual(await held(), ["app-1", "lib-1"]);
    await using reader = await createTestNix({ root: true });
    const substituters = `substituters = ${url}\nrequire-sigs = false`;
    await reader.run("nix-store", ["--realise", app], { env: { NIX_CONFIG: substituters } });
  });

  it("is signed for with the key of its table, which readers trust", async () => {
    const { app } = await rig.select("home", [{ packages: ["app"] }]);
    const { stderr } = await done("push", app);
    assert.doesNotMatch(stderr, /signature|token/);
    await using reader = await createTestNix({ root: true });
    const conf = `substituters = ${url}\ntrusted-public-keys = ${publicKey}\nrequire-sigs = true`;
    await reader.run("nix-store", ["--realise", app], { env: { NIX_CONFIG: conf } });
    assert.match((await done("push", app)).stderr, /2 already there|nothing to push|0 pushed/);
  });

  it("is signed with each of several keys, of which readers need one", async () => {
    const { app } = await rig.select("home", [{ packages: ["app"] }]);
    const [older, both] = ["older", "both"].map((name) => join(rig.nix.dir, name)) as [
      string,
      string,
    ];
    const older1 = (await run("keygen", "--out", older, "older-1")).stdout.trim();
    const texts = await Promise.all([key, older].map((file) => readFile(file, "utf8")));
    await writeFile(both, texts.join(""), { mode: 0o600 });
    await writeFile(
      join(rig.nix.dir, "handpick.toml"),
      `[caches.usb]\nurl = "${url}"\nsigning-key-file = "${both}"\n`,
    );
    await done("push", app);
    assert.match((await done("doctor", "usb")).stdout, /signed by usb-1 and older-1/);
    for (const trusted of [publicKey, older1]) {
      await using reader = await createTestNix({ root: true });
      const conf = `substituters = ${url}\ntrusted-public-keys = ${trusted}\nrequire-sigs = true`;
      await reader.run("nix-store", ["--realise", app], { env: { NIX_CONFIG: conf } });
    }
  });

  it("is kept by sync as selections want it, needs no token, and is told of by status", async () => {
    await configure("optional = true");
    await rig.declare("home", [{ packages: ["app"] }]);
    await rig.declare("more", [{ packages: ["data"], caches: [url], hints: { optional: true } }]);
    assert.equal((await rig.synced("--recheck")).pushed, 3);
    assert.deepEqual(await held(), ["app-1", "data-1", "lib-1"]);
    const { caches, idle } = await rig.status();
    assert.deepEqual([caches.map(({ name }) => name), idle], [["usb"], []]);
    assert.match((await done("status")).stdout, /everything is where it should be: 3 in usb/);
    await rig.withdraw("home");
    await rig.withdraw("more");
  });

  it("waits for disk that is not mounted, and goes on when it is", async () => {
    await rm(join(rig.nix.dir, "disk"), { recursive: true });
    await rig.declare("home", [{ packages: ["data"] }]);
    const away = await run("sync", "--recheck");
    assert.deepEqual([away.status, /Mount the disk/.test(away.stderr)], [0, true], away.stderr);
    assert.equal((await rig.status()).caches[0]?.trouble?.code, "CACHE_UNAVAILABLE");
    await mkdir(join(rig.nix.dir, "disk"));
    assert.equal((await rig.synced("--recheck")).pushed, 1);
    await rig.withdraw("home");
  });

  it("gets nothing of a selection that names a folder without a table", async () => {
    const other = `file://${rig.nix.dir}/disk/other`;
    const { manifest } = await rig.declare("home", [
      { packages: ["data"], caches: [other] },
      { packages: ["lib"] },
    ]);
    const message = `Cannot use cache "${other}", which a selection names: it is not in the configuration`;
    for (const args of [
      ["push", manifest],
      ["plan", manifest],
      ["push", "--wanted"],
    ]) {
      const result = await run(...args);
      assert.equal(result.status, 2, result.stderr);
      assert.ok(result.stderr.includes(message), result.stderr);
      assert.match(result.stderr, /add \[caches\.NAME\] with url = "file:/);
    }
    assert.deepEqual(await held(), []);
    const synced = await run("sync", "--recheck");
    assert.ok(synced.stderr.includes(message), synced.stderr);
    assert.deepEqual(await held(), ["lib-1"]);
    assert.deepEqual(await readdir(join(rig.nix.dir, "disk")), ["cache"]);
    const { caches } = await rig.status();
    assert.equal(caches.find(({ name }) => name === other)?.trouble?.code, "CACHE_UNKNOWN");
    const own = await run("doctor");
    assert.equal(own.status, 2, own.stdout);
    assert.ok(own.stdout.includes(`failed  caches: ${message}`), own.stdout);
    const { toDo = "" } = await rig.status();
    const table = `add [caches.NAME] with url = "${other}" to ${join(rig.nix.dir, "handpick.toml")}. `;
    assert.ok(toDo.includes(table), toDo);
    assert.match(toDo, / Then run: handpick sync --recheck$/);
    const doctor = await done("doctor", other);
    assert.match(doctor.stdout, /selections need a table for it in the configuration/);
    await configure(`[caches.other]\nurl = "${other}"`);
    assert.match((await done("doctor")).stdout, /other: cache: private, writable/);
    await done("sync", "--recheck");
    assert.equal((await rig.status()).toDo, undefined);
    await rig.withdraw("home");
  });

  it("takes the store of its first path, and warns of paths that nobody signed", async () => {
    await using own = await createTestNix();
    const [app = ""] = await own.build(TOY_PACKAGES, { attr: "app" });
    const warning =
      /^(?:handpick: )?warning: lib-1 and \d more go to \S+ without a signature, so Nix will refuse/m;
    for (const command of ["plan", "push"]) {
      const { status, stderr } = await handpick(own, [command, "--to", `${url}%20x`, app]);
      assert.equal(status, 0, stderr);
      assert.match(stderr, warning);
    }
    const info = await readFile(`${folder} x/nix-cache-info`, "utf8");
    assert.match(info, new RegExp(`^StoreDir: ${own.storeDir}$`, "m"));
    const { lib } = await rig.select("home", [{ packages: ["lib"] }]);
    const foreign = await run("push", "--to", `${url}%20x`, lib);
    assert.equal(foreign.status, 2, foreign.stderr);
    assert.match(foreign.stderr, /STORE_UNSUPPORTED/);
  });

  it("gets what exec accepts", async () => {
    const file = join(rig.nix.dir, "added-by-exec");
    await writeFile(file, `added ${Math.random()}`);
    const options = ["--substituted", "--via", "store", "-i", "added-*", "--to", url];
    await done("exec", ...options, "--", "nix-store", "--add", file);
    assert.deepEqual(await held(), ["added-by-exec"]);
  });

  it("is looked at by doctor, which asks for a key and for no token", async () => {
    const own = await done("doctor");
    assert.match(own.stdout, /ok +usb: credentials: no token needed, signing key from file /);
    assert.match(own.stdout, /ok +usb: cache: private, writable, read at file:/);
    const bare = await done("doctor", `file://${rig.nix.dir}/disk/new`);
    assert.match(bare.stdout, /warning \S+: credentials: no token needed.*nothing is signed/);
    assert.match(bare.stdout, /Set signing-key-file; handpick keygen/);
    assert.doesNotMatch(bare.stdout + own.stdout, /CACHIX|no token;|app\.cachix/);
    assert.deepEqual(await readdir(join(rig.nix.dir, "disk")), [], "doctor makes nothing");
  });

  it("fails at doctor where a push fails, for another store or a link in it", async () => {
    await mkdir(folder);
    await writeFile(join(folder, "nix-cache-info"), "StoreDir: /other/store\n");
    const other = await run("doctor");
    assert.equal(other.status, 2, other.stdout);
    assert.match(other.stdout, /^failed +usb: cache: .*it holds paths of \/other\/store/m);
    await rm(join(folder, "nix-cache-info"));
    await symlink(rig.nix.dir, join(folder, "nar"));
    const linked = await run("doctor");
    assert.equal(linked.status, 3, linked.stdout);
    assert.match(linked.stdout, /^failed +usb: cache: .*expected a folder, it is a link/m);
  });

  it("is warned of by doctor if its disk is full", async (t) => {
    await using disk = await smallDisk(64 * 1024);
    if (disk === undefined) return t.skip("this user may not mount");
    await writeFile(join(disk.dir, "large"), Buffer.alloc(128 * 1024)).catch(() => undefined);
    const { stdout } = await done("doctor", `file://${disk.dir}/cache`);
    assert.match(stdout, /^warning \S+: cache: private, its disk is full, /m);
  });

  it("has no keys to register and no pins", async () => {
    const out = join(rig.nix.dir, "unused.sec");
    const keygen = await run("keygen", "x-1", "--out", out, "--register", "usb");
    assert.equal(keygen.status, 2);
    assert.match(keygen.stderr, /this kind has no keys to register[^]*trusted-public-keys/);
    await assert.rejects(readFile(out), { code: "ENOENT" });
    const { data } = await rig.select("home", [{ packages: ["data"] }]);
    assert.match((await run("pin", "name", data)).stderr, /has no pins/);
  });

  it("is pushed to and read as docs/file.md says", async () => {
    const { app } = await rig.select("home", [{ packages: ["app"] }]);
    const cwd = join(rig.nix.dir, "somewhere");
    await rm(cwd, { recursive: true, force: true });
    await mkdir(join(cwd, "bin"), { recursive: true });
    await symlink(app, join(cwd, "result"));
    const program = `#!/bin/sh\nexec '${process.execPath}' '${BUNDLE}' "$@"\n`;
    await writeFile(join(cwd, "bin/handpick"), program, { mode: 0o755 });
    const text = (await readProject("docs/file.md")).replaceAll(
      "/mnt/usb",
      join(rig.nix.dir, "disk"),
    );
    const [preparing = "", pushing = "", reading = ""] = codeBlocks(text, "sh");
    const config = join(cwd, "home/.config/handpick/config.toml");
    const before = '[caches.before]\nurl = "cachix://before"';
    await mkdir(dirname(config), { recursive: true });
    await writeFile(config, before);
    await using reader = await createTestNix({ root: true });
    for (const [nix, block] of [
      [rig.nix, preparing],
      [rig.nix, pushing],
      [reader, reading],
    ] as const) {
      const PATH = `${join(cwd, "bin")}:${nix.env["PATH"]}`;
      const HOME = join(cwd, "home");
      const env = { PATH, HOME, XDG_CONFIG_HOME: join(HOME, ".config") };
      await nix.run("sh", ["-eu", "-c", block], { cwd, env });
    }
    assert.ok((await readFile(config, "utf8")).startsWith(`${before}\n`), "the table is added");
    folder = join(rig.nix.dir, "disk/caches/mine");
    assert.deepEqual(await held(), ["app-1", "lib-1"]);
  });

  it("is refused under another spelling of URL, with the rule", async () => {
    const { data } = await rig.select("home", [{ packages: ["data"] }]);
    for (const [to, rule] of [
      ["file://relative", /it must have three slashes and the full name of a folder/],
      [`${url}?compression=xz`, /found "compression"; set compression in \[caches\.NAME\]/],
      [`${url}/../x`, /must not contain \.\./],
    ] as const) {
      const { status, stderr } = await run("push", "--to", to, data);
      assert.equal(status, 2);
      assert.match(stderr, rule);
    }
    const asPath = await run("push", url, data);
    assert.match(asPath.stderr, /it is a cache, and not a path/);
  });
});
