import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { chmod, mkdir, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, beforeEach, describe, it } from "node:test";

import { always, type PutServer, startPutServer } from "./fakes/put-server.ts";
import { BUNDLE, handpick, type Result } from "./handpick.ts";
import { codeBlocks, readProject } from "./markdown.ts";
import { DAV, type Nginx, nginxSkip, startNginx } from "./nginx.ts";
import { createTestNix } from "./nix.ts";
import { smallDisk } from "./small-disk.ts";
import { SyncRig } from "./sync/sync-rig.ts";
import { tempDir } from "./temp.ts";

const BASIC = [...DAV, 'auth_basic "cache";', "auth_basic_user_file users;"];

describe("a cache on a web server", { timeout: 180_000, skip: nginxSkip() }, () => {
  let rig: SyncRig;
  let nginx: Nginx;
  let key: string;
  let publicKey: string;
  let netrc: string;

  before(async () => {
    rig = await SyncRig.create();
    key = join(rig.nix.dir, "key");
    netrc = join(rig.nix.dir, "its-netrc");
    publicKey = (await run("keygen", "--out", key, "web-1")).stdout.trim();
    await writeFile(netrc, "machine 127.0.0.1 login me password pw-of-the-user\n", { mode: 0o600 });
  });
  beforeEach(async () => {
    await nginx?.[Symbol.asyncDispose]();
    nginx = await startNginx({ location: BASIC, users: ["me:pw-of-the-user"] });
    await configure(`netrc-file = "${netrc}"`);
  });
  after(async () => {
    await nginx[Symbol.asyncDispose]();
    await rig[Symbol.asyncDispose]();
  });

  const run = async (...args: readonly string[]): Promise<Result> => {
    const result = await handpick(rig.nix, args, { env: { ...rig.env, ...environment } });
    assert.doesNotMatch(result.stdout + result.stderr, /pw-of-the-user|t0ken-of/);
    return result;
  };
  let environment: Readonly<Record<string, string>> = {};
  const done = async (...args: readonly string[]): Promise<Result> => {
    const result = await run(...args);
    assert.equal(result.status, 0, `${args.join(" ")}: ${result.stderr}${result.stdout}`);
    return result;
  };
  async function configure(...lines: readonly string[]): Promise<void> {
    await tableFor(nginx.url, `signing-key-file = "${key}"`, ...lines);
  }
  async function tableFor(url: string, ...lines: readonly string[]): Promise<void> {
    const table = `[caches.web]\nurl = "${url}"\nupstreams = []\n`;
    await writeFile(join(rig.nix.dir, "handpick.toml"), `${table}${lines.join("\n")}\n`);
  }
  /** Names of the paths that the cache holds. */
  async function held(dir = nginx.dir): Promise<string[]> {
    const names = await readdir(dir).catch(() => []);
    const files = names.filter((name) => name.endsWith(".narinfo"));
    const infos = await Promise.all(files.map((name) => readFile(join(dir, name), "utf8")));
    return infos.map((info) => /^StorePath: \S+?-(\S+)$/m.exec(info)?.[1] ?? info).toSorted();
  }

  it("is pushed to with user and password, and is read back by Nix with the key", async () => {
    const { app } = await rig.select("home", [{ packages: ["app"] }]);
    await done("push", app);
    assert.deepEqual(await held(), ["app-1", "lib-1"]);
    await using reader = await createTestNix({ root: true });
    const conf = [`substituters = ${nginx.url}`, `trusted-public-keys = ${publicKey}`];
    conf.push("require-sigs = true", `netrc-file = ${netrc}`);
    const env = { NIX_CONFIG: conf.join("\n") };
    await reader.run("nix-store", ["--realise", app], { env });
    assert.match((await done("push", app)).stderr, /nothing to push, 2 already there/);
  });

  it("takes the netrc that Nix reads where the table names none", async () => {
    const { data } = await rig.select("home", [{ packages: ["data"] }]);
    await configure();
    const refused = await run("push", data);
    assert.equal(refused.status, 3, refused.stderr);
    assert.match(refused.stderr, /received status 401: a page.*; no token was sent/);
    assert.match(refused.stderr, /Set token-file or netrc-file in \[caches\.NAME\]/);
    await writeFile(join(rig.nix.dir, "etc/netrc"), await readFile(netrc), { mode: 0o600 });
    await done("push", data);
    assert.deepEqual(await held(), ["data-1"]);
    await writeFile(join(rig.nix.dir, "etc/netrc"), 'machine 127.0.0.1 password "x');
    const broken = await run("push", (await rig.select("home", [{ packages: ["lib"] }])).lib);
    assert.equal(broken.status, 3);
    assert.match(broken.stderr, /etc\/netrc is ignored: .* line 1 has a quote without end/);
    await rm(join(rig.nix.dir, "etc/netrc"));
  });

  it("is told apart by doctor: who is sent, what is needed, and the lines for readers", async () => {
    await nginx.write("nix-cache-info", `StoreDir: /nix/store\nPriority: 30\n`);
    await configure(
      `netrc-file = "${netrc}"`,
      'read-url = "https://read.example.org"',
      "public = false",
    );
    const { stdout } = await done("doctor");
    assert.match(
      stdout,
      /ok +web: credentials: user "me" and password from file \S+its-netrc, signing key/,
    );
    assert.match(
      stdout,
      /ok +web: cache: private, whether we may write shows with the first push, read at https:\/\/read\.example\.org, zstd, paths of \/nix\/store, priority 30\n/,
    );
    const lines = [
      "web: readers: signed by web-1, besides the signatures that the store has",
      "Readers need in nix.conf:",
      "extra-substituters = https://read.example.org",
      `extra-trusted-public-keys = ${publicKey}`,
      "netrc-file = FILE, with a line for machine read.example.org",
    ];
    assert.ok(stdout.includes(lines.join("\n          ")), stdout);
    await writeFile(join(rig.nix.dir, "other-netrc"), "machine other.example password x", {
      mode: 0o600,
    });
    await configure(`netrc-file = "${join(rig.nix.dir, "other-netrc")}"`);
    const lacking = await run("doctor");
    assert.match(
      lacking.stdout,
      /warning web: credentials: no token; file \S+ has no entry for 127\.0\.0\.1\n/,
    );
    assert.equal(lacking.status, 3);
    assert.match(lacking.stdout, /failed +web: cache: .* received status 401/);
    const url = await run("doctor", `${nginx.url}/other`);
    assert.match(url.stdout, /neither token nor password, selections need a table for it/);
  });

  it("is told by doctor and verify to want a password of readers, until the table says so", async () => {
    const { lib } = await rig.select("home", [{ packages: ["lib"] }]);
    await done("push", lib);
    const advice = /answers 401 to readers without a password[^]*set public = false/;
    assert.match((await done("doctor")).stdout, advice);
    const unread = await run("verify", "web", lib);
    assert.equal(unread.status, 1);
    assert.match(unread.stderr, advice);
    await nginx.requests();
    assert.equal((await run("verify", "--repair", "web", lib)).status, 1);
    assert.deepEqual(
      (await nginx.requests()).filter((line) => line.startsWith("PUT")),
      [],
    );
    await configure(`netrc-file = "${netrc}"`, "public = false");
    assert.doesNotMatch((await done("doctor")).stdout, advice);
    assert.match(
      (await done("verify", "web", lib)).stdout,
      /^web: served: 1 path from the cache$/m,
    );
  });

  it("refuses a key that readers do not have, before anything is sent", async () => {
    const { data } = await rig.select("home", [{ packages: ["data"] }]);
    const strange = `public-keys = ["web-2:${randomBytes(32).toString("base64")}"]`;
    await configure(`netrc-file = "${netrc}"`, strange);
    const { status, stderr } = await run("push", data);
    assert.deepEqual([status, /add ours to its public-keys/.test(stderr)], [3, true], stderr);
    assert.deepEqual(await held(), []);
    await configure(`netrc-file = "${netrc}"`, `public-keys = ["${publicKey}"]`);
    await done("push", data);
  });

  it("is idle where it is optional and lacks what its table names, and only there", async () => {
    await rig.declare("home", [{ packages: ["data"] }]);
    await configure('token-env = "NO_SUCH"', "optional = true");
    await done("sync", "--recheck");
    assert.deepEqual((await rig.status()).idle, ["web"]);
    environment = { NO_SUCH: "t0ken-of-the-user" };
    const refused = await run("sync", "--recheck");
    environment = {};
    assert.equal(refused.status, 3, refused.stderr);
    assert.match(refused.stderr, /received status 401/);
    await using open = await startPutServer();
    await tableFor(open.url, "optional = true");
    await done("sync", "--recheck");
    assert.ok(open.files.size > 0);
    await rig.withdraw("home");
  });

  it("gets nothing of a selection that names it without a table", async () => {
    await using open = await startPutServer();
    const { manifest } = await rig.select("home", [{ packages: ["data"], caches: [open.url] }]);
    const { status, stderr } = await run("push", manifest);
    assert.equal(status, 2, stderr);
    assert.ok(stderr.includes(`Cannot use cache "${open.url}", which a selection names`), stderr);
    assert.deepEqual(open.requests, []);
    const { data } = await rig.select("home", [{ packages: ["data"] }]);
    await tableFor("http://127.0.0.1:1");
    await done("push", "--to", `${open.url}/`, data);
    assert.ok(open.files.has("nix-cache-info"));
  });

  it("gets a path of several parts in one request, and keeps none of it on disk", async (t) => {
    const large = join(rig.nix.dir, "large");
    await writeFile(large, randomBytes(20 << 20));
    const path = (await rig.nix.run("nix-store", ["--add", large])).stdout.trim();
    const { data } = await rig.select("home", [{ packages: ["data"] }]);
    await nginx.requests();
    const folder = join(rig.nix.dir, "waiting");
    await mkdir(folder);
    environment = { TMPDIR: folder };
    await done("push", path);
    assert.deepEqual(await readdir(folder), []);
    const nars = (await nginx.requests()).filter((line) => line.includes("/nar/"));
    assert.deepEqual(
      nars.map((line) => line.replace(/ \S+ /, " ")),
      ["HEAD 404", "PUT 201"],
    );
    await using disk = await smallDisk(10 << 20);
    if (disk === undefined) return t.skip("this user may not mount");
    await chmod(disk.dir, 0o777);
    environment = { TMPDIR: disk.dir };
    await rm(nginx.dir, { recursive: true });
    await mkdir(nginx.dir);
    const full = await run("push", path, data);
    environment = {};
    assert.equal(full.status, 1, full.stderr);
    assert.match(full.stderr, /it waits in \S+ until it is whole, and the disk is full/);
    assert.deepEqual(await held(), ["data-1"]);
  });

  it("is pushed to and read as docs/http.md says", async () => {
    const { app } = await rig.select("home", [{ packages: ["app"] }]);
    const cwd = join(rig.nix.dir, "somewhere");
    await mkdir(join(cwd, "bin"), { recursive: true });
    await symlink(app, join(cwd, "result"));
    const program = `#!/bin/sh\nexec '${process.execPath}' '${BUNDLE}' "$@"\n`;
    await writeFile(join(cwd, "bin/handpick"), program, { mode: 0o755 });
    const document = await readProject("docs/http.md");
    const [server = ""] = codeBlocks(document, "nginx");
    await using temp = await tempDir();
    await using documented = await startNginx({
      server: [server.replace("/srv", temp.dir).replace("/etc/nginx/nix-writers", "users")],
      users: ["me:PASSWORD"],
    });
    const address = `http://127.0.0.1:${documented.port}/nix`;
    const [preparing = "", pushing = ""] = codeBlocks(
      document
        .replaceAll("https://cache.example.org/nix", address)
        .replaceAll("machine cache.example.org", "machine 127.0.0.1"),
      "sh",
    );
    const HOME = join(cwd, "home");
    await mkdir(HOME);
    const PATH = `${join(cwd, "bin")}:${rig.nix.env["PATH"]}`;
    const env = { PATH, HOME, XDG_CONFIG_HOME: join(HOME, ".config") };
    for (const block of [preparing, pushing.replace("push", "push --assume-missing")]) {
      await rig.nix.run("sh", ["-eu", "-c", block], { cwd, env });
    }
    assert.deepEqual(await held(join(temp.dir, "nix")), ["app-1", "lib-1"]);
    const [reading = ""] = codeBlocks(
      document.replaceAll("https://cache.example.org/nix", address),
      "text",
    );
    const trusted = (await readFile(join(HOME, "web-1.pub"), "utf8")).trim();
    await using reader = await createTestNix({ root: true });
    const conf = `substituters =\ntrusted-public-keys =\n${reading.replace("web-1:…", trusted)}`;
    await reader.run("nix-store", ["--realise", app], { env: { NIX_CONFIG: conf } });
  });
});

/** The same for each path of the selection. */
const ofEach = (request: string): string[] => [request, request, request];

describe("sync and a cache on a web server", { timeout: 120_000 }, () => {
  let rig: SyncRig;
  let server: PutServer;
  before(async () => {
    rig = await SyncRig.create();
    server = await startPutServer();
    const table = `[caches.web]\nurl = "${server.url}"\nupstreams = []\n`;
    await writeFile(join(rig.nix.dir, "handpick.toml"), table);
    await rig.declare("home", [{ packages: ["app", "data"] }]);
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
    await rig[Symbol.asyncDispose]();
  });

  it("asks once for each path, and no more while it remembers the answers", async () => {
    assert.equal((await rig.synced()).pushed, 3);
    server.requests.length = 0;
    await rig.declare("home", [{ packages: ["app", "data"] }]);
    assert.equal((await rig.synced()).pushed, 0);
    assert.equal(server.requests.length, 0);
    assert.equal((await rig.synced("--recheck")).present, 3);
    assert.deepEqual(
      server.requests
        .map(({ method, name }) => `${method} ${name.replace(/\w{32,52}/, "HASH")}`)
        .toSorted(),
      [...ofEach("GET HASH.narinfo"), ...ofEach("HEAD nar/HASH.nar.zst")],
    );
  });

  it("pushes a path again whose NAR is gone", async () => {
    const nar = [...server.files.keys()].find((name) => name.startsWith("nar/")) ?? "none";
    server.files.delete(nar);
    assert.equal((await rig.synced("--recheck")).pushed, 1);
    assert.ok(server.files.has(nar));
  });

  it("pushes again what was lost, and what a login page hides is no answer", async () => {
    for (const name of server.files.keys())
      if (name.endsWith(".narinfo")) server.files.delete(name);
    const page = {
      text: "<!doctype html><title>Log in</title>",
      headers: { "content-type": "text/html" },
    };
    server.answer = always("GET", 200, page);
    const hidden = await rig.sync("--recheck");
    assert.match(hidden.stderr, /expected nix-cache-info, received something else/);
    server.answer = () => false;
    assert.equal((await rig.synced("--recheck")).pushed, 3);
  });
});
