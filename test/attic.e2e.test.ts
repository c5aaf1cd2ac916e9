import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";

import { hashPartOf, parseStorePath } from "../src/nix/store-path.ts";
import { atticd, AtticServer } from "./attic-server.ts";
import { type FakeAttic, startFakeAttic } from "./fakes/attic.ts";
import { BUNDLE, handpick, type Result, resultOf, startHandpick } from "./handpick.ts";
import { codeBlocks, readProject } from "./markdown.ts";
import { createTestNix, type TestNix } from "./nix.ts";
import { SyncRig } from "./sync/sync-rig.ts";

/** Where nothing listens. */
const NO_NETWORK = { https_proxy: "http://127.0.0.1:9" };

describe("a cache at an Attic server", { timeout: 180_000 }, () => {
  let rig: SyncRig;
  let fake: FakeAttic;

  before(async () => {
    rig = await SyncRig.create();
  });
  after(() => rig[Symbol.asyncDispose]());
  beforeEach(async () => {
    fake = await startFakeAttic();
    await configure();
  });
  afterEach(async () => {
    await fake[Symbol.asyncDispose]();
    await rm(join(rig.nix.dir, "home/.config"), { recursive: true, force: true });
    assert.deepEqual(fake.service.violations, []);
  });

  const run = (...args: readonly string[]): Promise<Result> =>
    handpick(rig.nix, args, { env: { ...rig.env, ATTIC_TOKEN: "fake-token" } });
  async function done(...args: readonly string[]): Promise<Result> {
    const result = await run(...args);
    assert.equal(result.status, 0, `${args.join(" ")}: ${result.stderr}${result.stdout}`);
    return result;
  }
  async function configure(...lines: readonly string[]): Promise<void> {
    const table = `[caches.mine]\nurl = "attic://cache.example.org/acme"\nhost = "${fake.url}"\n`;
    const text = `${table}upstreams = []\n${lines.join("\n")}\n`;
    await writeFile(join(rig.nix.dir, "handpick.toml"), text);
  }
  /** Names of the paths that readers see, in the order in which they came. */
  const names = (): string[] =>
    [...fake.service.published.values()].map(({ description }) =>
      description.store_path.replace(/^.*?-/, ""),
    );

  it("gets a closure, references first, and each path once", async () => {
    const { tool } = await rig.select("home", [{ packages: ["tool"] }]);
    assert.match((await done("plan", tool)).stdout, /3 selected, 3 to push/);
    assert.deepEqual(names(), []);
    await done("push", tool);
    assert.deepEqual(names(), ["lib-1", "app-1", "tool-1"]);
    assert.match((await done("push", tool)).stderr, /3 already there/);
    assert.equal(fake.of("upload").length, 3);
  });

  it("needs no more than a URL where Attic's client has logged in, and is whole without cache.nixos.org", async () => {
    const { app } = await rig.select("home", [{ packages: ["app"] }]);
    const home = join(rig.nix.dir, "home/.config");
    await mkdir(join(home, "attic"), { recursive: true });
    await writeFile(
      join(home, "attic/config.toml"),
      `[servers.local]\nendpoint = "${fake.url}/"\ntoken = "fake-token"\n`,
      { mode: 0o600 },
    );
    const table = '[caches.mine]\nurl = "attic://local/acme"\n';
    await writeFile(join(rig.nix.dir, "handpick.toml"), table);
    const result = await handpick(rig.nix, ["push", app], { env: { ...rig.env, ...NO_NETWORK } });
    assert.equal(result.status, 0, result.stderr);
    assert.match(result.stderr, /ask upstream cache\.nixos\.org/);
    assert.deepEqual(names(), ["lib-1", "app-1"]);
  });

  it("is kept by sync as selections want it, and gets nothing of one that names it without a table", async () => {
    const url = "attic://cache.example.org/acme";
    await rig.declare("home", [{ packages: ["app"], caches: [url] }]);
    await configure('token-file = "token"');
    await writeFile(join(rig.nix.dir, "token"), "fake-token", { mode: 0o600 });
    assert.equal((await rig.synced("--recheck")).pushed, 2);
    assert.match((await done("status")).stdout, /everything is where it should be: 2 in mine/);
    const other = url.replace("acme", "other");
    const { manifest } = await rig.declare("home", [{ packages: ["data"], caches: [other] }]);
    for (const args of [
      ["push", manifest],
      ["sync", "--recheck"],
    ]) {
      const { stderr } = await run(...args);
      assert.match(
        stderr,
        new RegExp(`"${other}", which a selection names: it is not in the conf`),
      );
    }
    assert.deepEqual(names(), ["lib-1", "app-1"]);
    await rig.withdraw("home");
  });

  for (const [way, signal, status] of [
    ["killed", "SIGKILL", -1],
    ["interrupted", "SIGINT", 130],
  ] as const) {
    it(`shows nothing of a path whose push is ${way}, and all of it after the next`, async () => {
      const file = join(rig.nix.dir, `large-${way}`);
      await writeFile(file, randomBytes(24 << 20));
      const { stdout } = await rig.nix.run("nix-store", ["--add", file]);
      const path = stdout.trim();
      const stalled = fake.next("upload").stall(12 << 20);
      const env = { ...rig.env, ATTIC_TOKEN: "fake-token" };
      const child = startHandpick(rig.nix, ["push", path], { env });
      child.stdin.end();
      await stalled;
      child.kill(signal);
      assert.equal((await resultOf(child)).status, status);
      assert.deepEqual(names(), []);
      await done("push", path);
      const published = fake.service.published.get(hashPartOf(parseStorePath(path)));
      assert.equal(published?.nar.length, published?.description.nar_size);
    });
  }

  it("fails for a large path whose upload is cut off, and takes it the next time", async () => {
    const large = join(rig.nix.dir, "large-2");
    await writeFile(large, randomBytes(24 << 20));
    const { stdout } = await rig.nix.run("nix-store", ["--add", large]);
    fake.next("upload").cut({ afterBytes: 12 << 20 });
    const cut = await run("push", stdout.trim());
    assert.deepEqual([cut.status, /UPLOAD_INTERRUPTED/.test(cut.stderr)], [1, true], cut.stderr);
    assert.deepEqual(names(), []);
    await done("push", stdout.trim());
    assert.deepEqual(names(), ["large-2"]);
  });

  it("ends the run with 3 where the token may not push, is missing, or the cache is hidden", async () => {
    const { data } = await rig.select("home", [{ packages: ["data"] }]);
    fake.service.token = "another";
    const expired = await run("push", data);
    assert.deepEqual([expired.status, /CACHE_REFUSED/.test(expired.stderr)], [3, true]);
    assert.match(expired.stderr, /one that has expired counts as none/);
    assert.doesNotMatch(expired.stderr, /fake-token/);
    const none = await handpick(rig.nix, ["push", data], { env: rig.env });
    assert.deepEqual([none.status, /no token was sent/.test(none.stderr)], [3, true], none.stderr);
    assert.match(none.stderr, /ATTIC_TOKEN/);
    fake.service.isPublic = false;
    const hidden = await run("push", data);
    assert.deepEqual(
      [hidden.status, /absent and for one that it hides/.test(hidden.stderr)],
      [3, true],
    );
    assert.deepEqual(names(), []);
  });

  it("is told of by doctor: token, rights, signer, store, priority, and what readers paste", async () => {
    const { publicKey } = fake.service;
    const { stdout } = await done("doctor", "mine");
    assert.match(stdout, /^ok {6}mine: credentials: token from variable ATTIC_TOKEN$/m);
    const place = `${fake.url}/acme`;
    const cache = `public, writable, read at ${place}, compressed by the server, paths of /nix/store, priority 40`;
    const readers = [
      "ok      mine: readers: signed by the server",
      "          Readers need in nix.conf:",
      `          extra-substituters = ${place}`,
      `          extra-trusted-public-keys = ${publicKey}`,
    ];
    assert.ok(stdout.includes(`ok      mine: cache: ${cache}\n${readers.join("\n")}\n`), stdout);
    fake.service.mayPush = false;
    const reading = await run("doctor", "mine");
    assert.equal(reading.status, 3);
    assert.match(reading.stdout, /the token from variable ATTIC_TOKEN may only read\n.*--push/);
    fake.service.mayPush = true;
    fake.service.isPublic = false;
    const hidden = await done("doctor", "mine");
    assert.match(hidden.stdout, /mine: cache: private, writable/);
    assert.match(hidden.stdout, /\n {10}netrc-file = FILE, with a line for machine 127\.0\.0\.1\n/);
  });

  it("takes no settings that would change nothing", async () => {
    const { data } = await rig.select("home", [{ packages: ["data"] }]);
    for (const [line, message] of [
      [
        'signing-key-file = "key"',
        /signing-key-file is no key for a cache of attic:\/\/, which signs/,
      ],
      ['dhall-file = "x.dhall"', /dhall-file is no key for a cache of attic:\/\//],
      ['compression = "zstd"', /Cannot use compression "zstd" with cache "mine": it takes "none"/],
      ["compression-level = 3", /Cannot use compression-level "3" with cache "mine": it takes/],
    ] as const) {
      await configure(line);
      const { status, stderr } = await run("push", data);
      assert.equal(status, 2);
      assert.match(stderr, message);
    }
    assert.deepEqual(fake.requests, []);
  });

  it("is named in the notation of its client by mistake, and in the right one by the answer", async () => {
    const { data } = await rig.select("home", [{ packages: ["data"] }]);
    const { status, stderr } = await run("push", "--to", "central:acme", data);
    assert.deepEqual([status, /attic:\/\/central\/acme/.test(stderr)], [2, true], stderr);
  });
});

const found = atticd();

describe(
  "a real Attic server and Nix itself",
  { timeout: 180_000, skip: "skip" in found ? found.skip : false },
  () => {
    let rig: SyncRig;
    let server: AtticServer;

    before(async () => {
      if ("program" in found) server = await AtticServer.start(found.program);
      rig = await SyncRig.create();
    });
    after(async () => {
      await rig[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    });

    /** Fetches a path into an empty store; false if Nix refuses to. */
    async function substitute(
      path: string,
      lines: readonly string[],
      reader: TestNix,
    ): Promise<boolean> {
      const config = ["require-sigs = true", ...lines].join("\n");
      const options = { env: { NIX_CONFIG: config }, allowFailure: true };
      const { status } = await reader.run("nix-store", ["--realise", path], options);
      if (status === 0) await reader.run("nix-store", ["--verify", "--check-contents"]);
      return status === 0;
    }
    async function configure(name: string, token: string): Promise<void> {
      const tokenFile = join(rig.nix.dir, "token");
      await writeFile(tokenFile, token, { mode: 0o600 });
      const table = `[caches.mine]\nurl = "attic://x/${name}"\nhost = "${server.url}"\n`;
      const rest = `token-file = "${tokenFile}"\nupstreams = []\n`;
      await writeFile(join(rig.nix.dir, "handpick.toml"), table + rest);
    }
    const run = (...args: readonly string[]): Promise<Result> =>
      handpick(rig.nix, args, { env: rig.env });
    /** Leaves paths without the content address for which Nix would take them unsigned. */
    function forgetAddresses(): void {
      using db = new DatabaseSync(join(rig.nix.stateDir, "db/db.sqlite"));
      db.exec("UPDATE ValidPaths SET ca = NULL");
    }
    /** The lines that doctor tells readers to paste. */
    const pasted = async (): Promise<string[]> => pastedIn((await run("doctor", "mine")).stdout);
    function pastedIn(stdout: string): string[] {
      const lines = [...stdout.matchAll(/^ {10}extra-(.*)$/gm)].map(([, line = ""]) => line);
      assert.equal(lines.length, 2, stdout);
      return lines;
    }

    it("serve what was pushed, small and large, with signatures required", async () => {
      await server.createCache("open");
      await configure("open", server.token({ caches: "open", push: true }));
      const { tool } = await rig.select("home", [{ packages: ["tool"] }]);
      const file = join(rig.nix.dir, "large");
      await writeFile(file, randomBytes(20 << 20));
      const { stdout } = await rig.nix.run("nix-store", ["--add", file]);
      const large = stdout.trim();
      forgetAddresses();
      const pushed = await run("push", tool, large);
      assert.equal(pushed.status, 0, pushed.stderr);
      const [substituters = "", keys = ""] = await pasted();
      await using strict = await createTestNix({ root: true });
      assert.equal(await substitute(tool, [substituters], strict), false);
      await using reader = await createTestNix({ root: true });
      assert.equal(await substitute(tool, [substituters, keys], reader), true);
      assert.equal(await substitute(large, [substituters, keys], reader), true);
      const contents = await readFile(join(reader.dir, "root", large));
      assert.deepEqual(contents, await readFile(file));
      assert.match((await run("push", tool, large)).stderr, /4 already there/);
      const verified = await run("verify", "--deep", "mine", tool, large);
      assert.deepEqual([verified.status, verified.stderr], [0, ""], verified.stdout);
      assert.match(
        verified.stdout,
        /^mine: served: 4 paths from the cache, 4 NARs read and right$/m,
      );
    });

    it("serve a private cache to whoever has a token that may read it", async () => {
      await server.createCache("closed", { isPublic: false });
      await configure("closed", server.token({ caches: "closed", push: true }));
      const { app } = await rig.select("home", [{ packages: ["app"] }], "2");
      forgetAddresses();
      const pushed = await run("push", app);
      assert.equal(pushed.status, 0, pushed.stderr);
      const lines = await pasted();
      await using reader = await createTestNix({ root: true });
      assert.equal(await substitute(app, lines, reader), false);
      const netrc = join(reader.dir, "netrc");
      const token = server.token({ caches: "closed", push: false });
      await writeFile(netrc, `machine 127.0.0.1 password ${token}\n`);
      assert.equal(await substitute(app, [...lines, `netrc-file = ${netrc}`], reader), true);
      const verified = await run("verify", "--deep", "--realise", "mine", app);
      assert.equal(verified.status, 0, verified.stderr + verified.stdout);
      assert.match(verified.stdout, /2 NARs read and right, fetched by Nix$/m);
    });

    it("refuse a token that may only read, or has expired", async () => {
      await server.createCache("strict");
      const { data } = await rig.select("home", [{ packages: ["data"] }], "3");
      for (const token of [
        server.token({ caches: "strict", push: false }),
        server.token({ caches: "strict", push: true, expires: new Date(0) }),
      ]) {
        await configure("strict", token);
        const { status, stderr } = await run("push", data);
        assert.deepEqual([status, /CACHE_REFUSED/.test(stderr)], [3, true], stderr);
        const doctor = await run("doctor", "mine");
        assert.deepEqual([doctor.status, /may only read/.test(doctor.stdout)], [3, true]);
      }
    });

    it("are pushed to and read as docs/attic.md says", async () => {
      await server.createCache("mine");
      const { app } = await rig.select("home", [{ packages: ["app"] }], "4");
      forgetAddresses();
      const cwd = await mkdtemp(join(rig.nix.dir, "docs-"));
      await mkdir(join(cwd, "bin"));
      await symlink(app, join(cwd, "result"));
      const program = `#!/bin/sh\nexec '${process.execPath}' '${BUNDLE}' "$@"\n`;
      await writeFile(join(cwd, "bin/handpick"), program, { mode: 0o755 });
      const home = join(cwd, "home");
      const config = join(home, ".config/handpick/config.toml");
      await mkdir(dirname(config), { recursive: true });
      const token = server.token({ caches: "mine", push: true });
      await writeFile(join(home, "attic-token"), token, { mode: 0o600 });
      const text = await readProject("docs/attic.md");
      const [configuring = "", pushing = ""] = codeBlocks(text, "sh");
      // The document has a server with TLS, and an upstream.
      const lines = `host = "${server.url}"\nupstreams = []`;
      const local = configuring.replace("\nEND", `\n${lines}\nEND`);
      assert.notEqual(local, configuring);
      const PATH = `${join(cwd, "bin")}:${rig.nix.env["PATH"]}`;
      const env = { PATH, HOME: home, XDG_CONFIG_HOME: join(home, ".config") };
      const doctor = await rig.nix.run("sh", ["-eu", "-c", local], { cwd, env });
      await rig.nix.run("sh", ["-eu", "-c", pushing], { cwd, env });
      await using reader = await createTestNix({ root: true });
      assert.equal(await substitute(app, pastedIn(doctor.stdout), reader), true);
    });
  },
);
