import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import {
  BUNDLE,
  freshMachine,
  handpick,
  resultOf,
  startHandpick,
  startServe,
  statusOf,
} from "./handpick.ts";
import type { ServeRig } from "./handpick.ts";
import { createTestNix } from "./nix.ts";
import type { TestNix } from "./nix.ts";
import { recordSignature } from "./signed.ts";

interface Packages {
  readonly lib: string;
  readonly app: string;
  readonly other: string;
}

/** A closure without a builder: `app` refers to `lib`, `other` to nothing. */
async function addPackages(nix: TestNix, tag: string): Promise<Packages> {
  const expression = `
    let lib = builtins.toFile "lib-${tag}" "library ${tag}";
        app = builtins.toFile "app-${tag}" "program with \${lib}";
        other = builtins.toFile "other-${tag}" "something else ${tag}";
    in "\${lib} \${app} \${other}"`;
  const { stdout } = await nix.run("nix-instantiate", [
    "--eval",
    "--read-write-mode",
    "-E",
    expression,
  ]);
  const [lib = "", app = "", other = ""] = (JSON.parse(stdout) as string).split(" ");
  return { lib, app, other };
}

interface JsonEvent {
  readonly event: string;
  readonly path?: string;
  readonly text?: string;
  readonly reason?: { readonly code: string };
}

const parseEvents = (stdout: string): JsonEvent[] =>
  stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as JsonEvent);

describe("handpick on a store and a cache", { timeout: 120_000 }, () => {
  let nix: TestNix;
  let serve: ServeRig;
  before(async () => {
    nix = await createTestNix({ root: true });
    serve = await startServe(nix);
  });
  after(async () => {
    await serve[Symbol.asyncDispose]();
    await nix[Symbol.asyncDispose]();
  });

  /** A configuration with one cache of `handpick.toml` and more lines for it; returns the file. */
  async function configWith(name: string, lines: string): Promise<string> {
    const config = await readFile(join(nix.dir, "handpick.toml"), "utf8");
    const [table = ""] = new RegExp(String.raw`\[caches\.${name}\][^[]*`).exec(config) ?? [];
    const file = join(nix.dir, "with.toml");
    await writeFile(file, `${table}${lines}\n`);
    return file;
  }

  it("pushes a closure that an empty store substitutes, signatures required, and nothing else", async () => {
    const { lib, app, other } = await addPackages(nix, "closure");
    await symlink(app, join(nix.dir, "result"));
    const pushed = await handpick(nix, ["push", "./result"]);
    assert.equal(pushed.status, 0, pushed.stderr);
    assert.match(pushed.stdout, /^2 pushed \(/);
    const fresh = freshMachine(nix, serve);
    await nix.run("nix-store", ["--realise", app], { env: fresh.env });
    await nix.run("nix-store", ["--verify", "--check-contents"], { env: fresh.env });
    assert.equal(await readFile(join(fresh.root, app), "utf8"), `program with ${lib}`);
    assert.equal(await statusOf(serve, lib), 200);
    assert.equal(await statusOf(serve, other), 404);
    assert.equal((await readdir(join(serve.dir, "nar"))).length, 2);
  });

  it("has nothing to do the second time", async () => {
    const { app } = await addPackages(nix, "twice");
    await handpick(nix, ["push", app]);
    const again = await handpick(nix, ["push", "--json", app]);
    assert.equal(again.status, 0);
    const summary = JSON.parse(again.stdout.trim().split("\n").at(-1) ?? "") as object;
    assert.deepEqual(Object.keys(summary), [
      "event",
      "pushed",
      "present",
      "upstream",
      "held",
      "excluded",
      "failed",
      "unfinished",
      "uploadedBytes",
      "durationMs",
    ]);
    assert.deepEqual(
      { ...summary, durationMs: 0 },
      {
        event: "summary",
        pushed: 0,
        present: 2,
        upstream: 0,
        held: 0,
        excluded: 0,
        failed: 0,
        unfinished: 0,
        uploadedBytes: 0,
        durationMs: 0,
      },
    );
  });

  it("streams events with --json, one a line", async () => {
    const { lib, app } = await addPackages(nix, "events");
    const { stdout, stderr } = await handpick(nix, ["push", "--json", app]);
    const events = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { event: string; path?: string });
    const pushed = events.filter(({ event }) => event === "pushed").map(({ path }) => path);
    assert.deepEqual(new Set(pushed), new Set([lib, app]));
    assert.equal(events[0]?.event, "plan");
    assert.equal(events.at(-1)?.event, "summary");
    assert.equal(stderr, "");
  });

  it("plans without sending anything, and says why", async () => {
    const { lib, app } = await addPackages(nix, "plan");
    const { status, stdout } = await handpick(nix, ["plan", "--json", app]);
    assert.equal(status, 0);
    const plan = JSON.parse(stdout) as {
      version: number;
      paths: object[];
      totals: Record<string, object>;
    };
    assert.deepEqual(
      plan.paths,
      [lib, app].map((path) => ({
        path,
        cache: "mine",
        action: "push",
        reason: { code: "missing", text: "missing from the cache" },
        narSize: (
          plan.paths.find((one) => "path" in one && one.path === path) as { narSize: number }
        ).narSize,
        picks: ["app-plan"],
        wantedBy: [{ name: "app-plan" }],
      })),
    );
    assert.equal(plan.version, 1);
    assert.deepEqual(Object.keys(plan.totals).toSorted(), [
      "excluded",
      "held",
      "present",
      "push",
      "upstream",
    ]);
    assert.equal(await statusOf(serve, lib), 404);
  });

  it("reads paths from stdin and keeps quiet with --quiet", async () => {
    const { lib, other } = await addPackages(nix, "stdin");
    const result = await handpick(nix, ["push", "--quiet", "--stdin"], {
      stdin: `${lib}\n ${other}\n`,
    });
    assert.deepEqual(result, { status: 0, stdout: "", stderr: "" });
    assert.deepEqual([await statusOf(serve, lib), await statusOf(serve, other)], [200, 200]);
  });

  it("holds what needs an excluded path, exits with 1 and pushes the rest", async () => {
    const { lib, app, other } = await addPackages(nix, "rules");
    const file = await configWith("mine", `[rules]\nexclude = ["lib-*"]\n`);
    const result = await handpick(nix, ["push", "--config", file, app, other]);
    assert.equal(result.status, 1);
    assert.match(result.stderr, /excluded: .*"lib-\*"/);
    assert.match(result.stderr, /held: needs .*lib-rules/);
    assert.match(result.stdout, /^1 pushed .*1 held, 1 excluded/);
    assert.deepEqual([await statusOf(serve, lib), await statusOf(serve, app)], [404, 404]);
    assert.equal(await statusOf(serve, other), 200);
    const failing = await handpick(nix, ["plan", "--config", file, app]);
    assert.equal(failing.status, 1);
    await configWith("mine", `[rules]\nexclude = ["lib-*"]\non-hole = "push-anyway"\n`);
    const anyway = await handpick(nix, ["push", "--config", file, app]);
    assert.equal(anyway.status, 0, anyway.stderr);
    // The cache knows better than to show a path whose reference it lacks.
    assert.equal(await statusOf(serve, app), 404);
  });

  it("pushes nothing while something is held with on-hole = fail", async () => {
    const { app, other } = await addPackages(nix, "fail");
    const file = await configWith("mine", `[rules]\nexclude = ["lib-*"]\non-hole = "fail"\n`);
    const result = await handpick(nix, ["push", "--config", file, app, other]);
    assert.equal(result.status, 1);
    assert.match(result.stderr, /Nothing was pushed/);
    assert.equal(await statusOf(serve, other), 404);
  });

  it("pushes a manifest with all its picks, excludes and pins", async () => {
    const { lib, app, other } = await addPackages(nix, "manifest");
    const manifest = {
      version: 1,
      name: "test",
      picks: [
        { name: "app", paths: [app], pin: "app-pin" },
        { name: "self", paths: [other], closure: "self", caches: ["mine"] },
      ],
    };
    await writeFile(join(nix.dir, "picks.json"), JSON.stringify(manifest));
    const result = await handpick(nix, ["push", "picks.json"]);
    assert.equal(result.status, 0, result.stderr);
    assert.match(result.stderr, /pinned as app-pin/);
    for (const path of [lib, app, other]) assert.equal(await statusOf(serve, path), 200);
    const pins = await fetch(`${serve.url}/api/v1/cache/mine/pin`);
    assert.match(await pins.text(), /"name":"app-pin"/);
  });

  it("sends each pick to its own caches, and to all where it names none", async () => {
    const { lib, other } = await addPackages(nix, "routes");
    await using second = await startServe(nix, { name: "second" });
    const picks = [
      { name: "there", paths: [lib], caches: ["second"], pin: "there" },
      { name: "here", paths: [other], pin: "here" },
    ];
    await writeFile(join(nix.dir, "routes.json"), JSON.stringify({ version: 1, name: "r", picks }));
    const result = await handpick(nix, ["push", "routes.json"]);
    assert.equal(result.status, 0, result.stderr);
    const found = [serve, second].map((cache) => [statusOf(cache, lib), statusOf(cache, other)]);
    assert.deepEqual(await Promise.all(found.flat()), [404, 200, 200, 200]);
    const again = await handpick(nix, ["push", "--json", "routes.json"]);
    assert.ok(!again.stdout.includes('"pinned"'), "what is pinned already gets no new revision");
    const { lib: path } = await addPackages(nix, "route");
    assert.equal((await handpick(nix, ["push", path])).status, 0);
    assert.deepEqual([await statusOf(serve, path), await statusOf(second, path)], [200, 404]);
    const all = await handpick(nix, ["push", "--to", "mine", "routes.json"]);
    assert.deepEqual([all.status, await statusOf(serve, lib)], [0, 200]);
  });

  it("pins by hand", async () => {
    const { lib, other } = await addPackages(nix, "pin");
    await handpick(nix, ["push", lib]);
    const pinned = await handpick(nix, ["pin", "by-hand", lib, "--keep-revisions", "3"]);
    assert.deepEqual([pinned.status, pinned.stdout], [0, `mine: pinned ${lib} as by-hand\n`]);
    const refused = await handpick(nix, ["pin", "no", other]);
    assert.notEqual(refused.status, 0);
  });

  it("offers files of a pinned path by their names in it, and no others", async () => {
    const folder = join(nix.dir, "artifacts");
    await mkdir(join(folder, "bin"), { recursive: true });
    await writeFile(join(folder, "bin/tool"), "x");
    await symlink("/etc", join(folder, "etc"));
    const path = (await nix.run("nix-store", ["--add", folder])).stdout.trim();
    await handpick(nix, ["push", path]);
    for (const artifact of ["bin/tool", "./bin/tool", "bin//./tool"]) {
      const { status, stderr } = await handpick(nix, ["pin", "tool", path, "--artifact", artifact]);
      assert.deepEqual([artifact, status], [artifact, 0], stderr);
    }
    const pins = await (await fetch(`${serve.url}/api/v1/cache/mine/pin`)).text();
    assert.match(pins, /"artifacts":\["bin\/tool"\]/);
    for (const artifact of ["../x", "bin/../../x", "/etc/passwd", "etc/passwd", "bin", ".", ""]) {
      const { status, stderr } = await handpick(nix, ["pin", "tool", path, "--artifact", artifact]);
      assert.deepEqual([artifact, status], [artifact, 2], stderr);
    }
  });

  it("pushes with xz where the configuration says so", async () => {
    const { lib } = await addPackages(nix, "xz");
    const file = await configWith("mine", 'compression = "xz"');
    const result = await handpick(nix, ["push", "--config", file, lib]);
    assert.equal(result.status, 0, result.stderr);
    const fresh = freshMachine(nix, serve, "fresh-xz");
    await nix.run("nix-store", ["--realise", lib], { env: fresh.env });
    assert.ok((await readdir(join(serve.dir, "nar"))).some((name) => name.endsWith(".nar.xz")));
  });

  it("signs with a key of our own that was registered, and refuses to sign with another", async () => {
    const { lib, other } = await addPackages(nix, "key");
    await using own = await startServe(nix, { name: "own" });
    const out = join(nix.dir, "own.sec");
    const made = await handpick(nix, [
      "keygen",
      "own-1",
      "--out",
      out,
      "--register",
      "own",
      "--json",
    ]);
    assert.equal(made.status, 0, made.stderr);
    const { publicKey } = JSON.parse(made.stdout) as { publicKey: string };
    const signing = (key: string): Promise<string> =>
      configWith("own", `signing-key-file = ${JSON.stringify(key)}`);
    const file = await signing(out);
    const pushed = await handpick(nix, ["push", "--config", file, "--to", "own", lib]);
    assert.equal(pushed.status, 0, pushed.stderr);
    const trusting = {
      nixConf: [`substituters = ${own.url}`, `trusted-public-keys = ${publicKey}`],
    };
    const fresh = freshMachine(nix, trusting, "fresh-own");
    await nix.run("nix-store", ["--realise", lib], { env: fresh.env });
    const again = await handpick(nix, ["keygen", "own-1", "--out", out]);
    assert.deepEqual([again.status, /exists/.test(again.stderr)], [2, true]);
    const kept = await readFile(out, "utf8");
    const repeated = await handpick(nix, ["keygen", "own-1", "--out", out, "--register", "own"]);
    assert.deepEqual([repeated.status, repeated.stdout], [0, `${publicKey}\n`]);
    assert.equal(await readFile(out, "utf8"), kept);
    const astray = ["keygen", "own-1", "--out", `${out}3`, "--register", "nocache"];
    assert.equal((await handpick(nix, astray)).status, 2);
    await assert.rejects(readFile(`${out}3`), { code: "ENOENT" });
    await writeFile(`${out}4`, "no key");
    const rubbish = ["keygen", "own-1", "--out", `${out}4`, "--register", "own"];
    assert.match((await handpick(nix, rubbish)).stderr, /KEY_INVALID/);
    await handpick(nix, ["keygen", "stranger-1", "--out", `${out}2`]);
    await signing(`${out}2`);
    const refused = await handpick(nix, ["push", "--config", file, "--to", "own", other]);
    assert.equal(refused.status, 3);
    assert.match(refused.stderr, /KEY_MISMATCH/);
  });

  it("keeps a private cache to those who have the token", async () => {
    const { lib } = await addPackages(nix, "private");
    await using secret = await startServe(nix, { name: "secret", args: ["--private"] });
    const pushed = await handpick(nix, ["push", "--to", "secret", lib]);
    assert.equal(pushed.status, 0, pushed.stderr);
    assert.deepEqual(
      [await statusOf(secret, lib), await statusOf(secret, lib, secret.token)],
      [401, 200],
    );
    const netrc = join(nix.dir, "netrc");
    await writeFile(netrc, `machine 127.0.0.1 password ${secret.token}\n`, { mode: 0o600 });
    const fresh = freshMachine(nix, secret, "fresh-secret");
    const config = `${fresh.env["NIX_CONFIG"] ?? ""}\nnetrc-file = ${netrc}`;
    await nix.run("nix-store", ["--realise", lib], { env: { ...fresh.env, NIX_CONFIG: config } });
  });

  it("checks everything with doctor", async () => {
    const { status, stdout } = await handpick(nix, ["doctor", "mine"]);
    assert.equal(status, 0);
    assert.match(stdout, /^ok\s+store: \/nix\/store through /m);
    assert.match(stdout, /^ok\s+mine: credentials: token from /m);
    assert.match(stdout, /^ok\s+mine: cache: public, writable, /m);
    assert.match(stdout, /^ok\s+sync: nothing starts one here, and nothing is wanted$/m);
    const bare = await handpick(nix, ["doctor", "mine"], { env: { PATH: "/nowhere" } });
    assert.match(bare.stdout, /^warning programs: nix is not on PATH$/m);
    const file = await configWith("mine", 'compression = "xz"');
    const noXz = ["doctor", "--config", file];
    const unpacked = await handpick(nix, noXz, { env: { PATH: "/nowhere" } });
    assert.match(
      unpacked.stdout,
      /^failed\s+programs: Cannot compress for mine: xz is not on PATH$/m,
    );
    const logging = join(nix.dir, "logging.toml");
    await writeFile(logging, `[caches.usb]\nurl = "file://${nix.dir}/usb"\nbuild-logs = true\n`);
    const logless = ["doctor", "--config", logging];
    const unlogged = await handpick(nix, logless, { env: { PATH: "/nowhere" } });
    assert.match(
      unlogged.stdout,
      /^warning programs: no build logs go to usb: bzip2 is not on PATH$/m,
    );
    const failing = await handpick(nix, ["doctor", "--json", "nowhere"]);
    const { checks } = JSON.parse(failing.stdout) as { checks: { status: string }[] };
    assert.deepEqual([failing.status, checks.at(-1)?.status], [2, "failed"]);
  });

  it("never shows the token, not even in JSON or debug output", async () => {
    const { lib } = await addPackages(nix, "token");
    const env = { HANDPICK_DEBUG: "1" };
    for (const args of [
      ["push", "--json", lib],
      ["doctor", "--json"],
      ["push", "/nowhere"],
    ]) {
      const { stdout, stderr } = await handpick(nix, args, { env });
      assert.ok(!`${stdout}${stderr}`.includes(serve.token), args.join(" "));
    }
  });

  it("says what is wrong with wrong input, and exits with the right code", async () => {
    const { lib } = await addPackages(nix, "wrong");
    await writeFile(join(nix.dir, "bad.toml"), "[caches.mine]\nurl = \n");
    await writeFile(
      join(nix.dir, "typo.toml"),
      '[caches.mine]\nurl = "cachix://x"\ntoken-fil = "x"\n',
    );
    await writeFile(
      join(nix.dir, "bad.json"),
      '{"version":1,"name":"x","picks":[{"name":"y","paths":["/tmp"]}]}',
    );
    await writeFile(join(nix.dir, "empty-token"), "");
    const dead = `[caches.dead]\nurl = "cachix://x"\nhost = "${serve.url}"\ntoken-file = "empty-token"\n`;
    await writeFile(join(nix.dir, "dead.toml"), dead);
    const unset = `[caches.u]\nurl = "cachix://mine"\nhost = "${serve.url}"\ntoken-env = "UNSET"\n`;
    await writeFile(join(nix.dir, "unset.toml"), unset);
    const wrong = `[caches.w]\nurl = "cachix://mine"\nhost = "${serve.url}"\ntoken-env = "WRONG"\n`;
    await writeFile(join(nix.dir, "wrong.toml"), wrong);
    const table: readonly (readonly [args: string[], status: number, error: RegExp])[] = [
      [["push"], 2, /USAGE/],
      [["push", "--to", "mine", "hello"], 2, /nixpkgs#hello/],
      [["push", "./no-result"], 2, /does not exist/],
      [["push", "/etc"], 2, /NOT_A_STORE_PATH/],
      [["push", "/nix/store/00000000000000000000000000000000-x"], 2, /PATH_NOT_VALID/],
      [["push", "bad.json"], 2, /MANIFEST_INVALID.*|picks\[0\]\.paths\[0\]/],
      [["push", "--to", "min", lib], 2, /Did you mean "mine"/],
      [["push", "--to", "ftp://bucket", lib], 2, /CACHE_URL_UNSUPPORTED/],
      [["push", "--config", "bad.toml", lib], 2, /bad\.toml:2:/],
      [["push", "--config", "typo.toml", lib], 2, /"token-fil".*|token-file/],
      [["push", "--config", "missing.toml", lib], 2, /CONFIG_UNREADABLE/],
      [["push", "--config", "dead.toml", lib], 3, /TOKEN_MISSING/],
      [["push", "--config", "unset.toml", lib], 3, /no token; .*UNSET.* \[TOKEN_MISSING\]/],
      [["push", "--config", "wrong.toml", lib], 3, /CACHE_(?:NOT_FOUND|REFUSED)/],
      [["push", "--store", "https://cache.nixos.org", lib], 2, /STORE_UNSUPPORTED/],
      [["pin", "x", lib, "--keep-days", "0"], 2, /--keep-days takes a whole number/],
      [["pin", "x", lib, "--keep-days", "1", "--keep-forever"], 2, /exclude each other/],
      [["keygen", "no/name"], 2, /Cannot name a key/],
      [["pin", "x", lib, "--artifact", "none"], 2, /Cannot offer "none" for download/],
      [["psuh"], 2, /Did you mean push/],
      [["help", "psuh"], 2, /Did you mean push/],
      [["psuh", "--help"], 2, /Did you mean push/],
      [["serve", "--listen", "here"], 2, /HOST:PORT/],
    ];
    for (const [args, status, error] of table) {
      const env = { WRONG: "wrong-token", HANDPICK_STATE_DIR: join(nix.dir, "no-state") };
      const result = await handpick(nix, args, { env });
      assert.deepEqual([args, result.status], [args, status], result.stderr);
      assert.match(result.stderr, error, args.join(" "));
      assert.ok(!/\n\s+at /.test(result.stderr), "no stack for a user");
    }
  });

  it("goes on to its end when its reader goes away", async () => {
    const { app } = await addPackages(nix, "epipe");
    for (const command of ["plan", "push"]) {
      const child = startHandpick(nix, [command, "--json", app]);
      child.stdout.destroy();
      const [status] = (await once(child, "exit")) as [number];
      assert.equal(status, 0);
    }
    assert.equal(await statusOf(serve, app), 200);
  });

  it("says so when it cannot write its answer", async () => {
    const { app } = await addPackages(nix, "full");
    const line = `exec '${process.execPath}' '${BUNDLE}' plan -q ${app} >/dev/full`;
    const { status, stderr } = await nix.run("sh", ["-c", line], { allowFailure: true });
    assert.deepEqual([status, stderr], [1, "handpick: Cannot write to stdout: ENOSPC\n"]);
  });

  it("ends its JSON with a summary, whatever goes wrong", async () => {
    const { lib } = await addPackages(nix, "sad");
    const wrong = [["./nowhere"], ["--to", "nocache", lib], ["--config", "missing.toml", lib]];
    for (const args of wrong) {
      const { status, stdout } = await handpick(nix, ["push", "--json", ...args]);
      const events = stdout
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as { event: string });
      assert.deepEqual([status, ...events.map(({ event }) => event)], [2, "error", "summary"]);
    }
  });

  it("says so when nothing is selected", async () => {
    const text = JSON.stringify({ version: 1, name: "empty", picks: [] });
    await writeFile(join(nix.dir, "empty.json"), text);
    const { status, stderr } = await handpick(nix, ["plan", "empty.json"]);
    assert.deepEqual([status, stderr], [0, "handpick: warning: nothing is selected\n"]);
  });

  it("leaves out what a declared upstream has, and holds what one that is down may have", async () => {
    const { lib, app, other } = await addPackages(nix, "upstream");
    await using upstream = await startServe(nix, { name: "up" });
    await handpick(nix, ["push", "--to", "up", lib]);
    const file = await configWith("mine", `upstreams = [${JSON.stringify(upstream.url)}]`);
    const picks = [{ name: "lib", paths: [lib], pin: "lib" }];
    await writeFile(join(nix.dir, "up.json"), JSON.stringify({ version: 1, name: "u", picks }));
    const pushed = await handpick(nix, ["push", "--config", file, "up.json"]);
    assert.equal(pushed.status, 0, pushed.stderr);
    assert.match(pushed.stdout, /0 pushed, 1 upstream/);
    assert.match(pushed.stderr, /is not pinned as lib: an upstream has it/);
    upstream.process.kill("SIGKILL");
    await once(upstream.process, "exit");
    recordSignature(nix, lib);
    const down = await handpick(nix, ["push", "--json", "--config", file, app, other]);
    assert.equal(down.status, 1);
    const events = parseEvents(down.stdout);
    const of = (kind: string): unknown[] =>
      events.filter(({ event }) => event === kind).map(({ path }) => path);
    assert.deepEqual([of("held"), of("pushed")], [[lib, app], [other]]);
    const codes = events.flatMap(({ reason }) => reason?.code ?? []);
    assert.deepEqual(codes, ["upstream-unreachable", "upstream-unreachable"]);
    const told = events.filter(({ text }) => text?.includes("[NETWORK]"));
    assert.equal(told.length, 1);
    assert.match(told[0]?.text ?? "", /--assume-missing/);
    const args = ["push", "--assume-missing", "--config", file, app];
    const assumed = await handpick(nix, args);
    assert.deepEqual([assumed.status, assumed.stdout.startsWith("2 pushed")], [0, true]);
  });

  it("answers Ctrl-C within two seconds with 130 and gives its uploads up", async () => {
    const path = await nix.add("large", randomBytes(40 << 20).toString("base64"));
    const asked: string[] = [];
    const storing = Promise.withResolvers<void>();
    // A cache that lets everything through but the parts, which it never answers.
    await using slow = await startProxy(serve.url, (method, url) => {
      asked.push(`${method} ${url}`);
      if (method === "PUT") storing.resolve();
      return method === "PUT";
    });
    const config = `[caches.mine]\nurl = "cachix://mine"\nhost = "${slow.url}"\ntoken-env = "T"\n`;
    await writeFile(join(nix.dir, "slow.toml"), config);
    const child = startHandpick(nix, ["push", "--json", "--config", "slow.toml", path], {
      env: { T: serve.token },
    });
    const ended = resultOf(child);
    await storing.promise;
    const startMs = performance.now();
    child.kill("SIGINT");
    const { status, stdout, stderr } = await ended;
    assert.equal(status, 130, stderr);
    assert.ok(performance.now() - startMs < 2_000);
    assert.match(stdout, /"event":"error","error":\{"code":"INTERRUPTED"/);
    assert.ok(
      asked.some((line) => /POST .*\/abort/.test(line)),
      "the upload was aborted",
    );
    assert.equal(await statusOf(serve, path), 404);
  });

  it("finishes after the server was killed in the middle of an upload", async () => {
    const path = await nix.add("survivor", randomBytes(8 << 20).toString("base64"));
    const dir = join(nix.dir, "cache-killed");
    const first = await startServe(nix, { name: "killed", dir });
    const killed = once(first.process, "exit");
    await using proxy = await startProxy(first.url, (method) => {
      if (method === "PUT") first.process.kill("SIGKILL");
      return method === "PUT";
    });
    const viaProxy = `[caches.killed]\nurl = "cachix://killed"\nhost = "${proxy.url}"\ntoken-env = "T"\n`;
    await writeFile(join(nix.dir, "killed.toml"), viaProxy);
    const args = ["push", "--config", "killed.toml", path];
    const child = startHandpick(nix, args, { env: { T: first.token } });
    const ended = resultOf(child);
    await killed;
    child.kill("SIGTERM");
    assert.equal((await ended).status, 130);
    const config = join(nix.dir, "handpick.toml");
    const kept = (await readFile(config, "utf8")).replace(/\[caches\.killed\][^[]*/, "");
    await writeFile(config, kept);
    await using second = await startServe(nix, { name: "killed", dir });
    const pushed = await handpick(nix, ["push", "--to", "killed", path]);
    assert.equal(pushed.status, 0, pushed.stderr);
    const fresh = freshMachine(nix, second, "fresh-killed");
    await nix.run("nix-store", ["--realise", path], { env: fresh.env });
  });
});

interface Proxy extends AsyncDisposable {
  readonly url: string;
}

/** Passes requests on unless `swallow` says not to answer. */
async function startProxy(
  target: string,
  swallow: (method: string, url: string) => boolean,
): Promise<Proxy> {
  const server = createServer((incoming, outgoing) => {
    const { method = "GET", url = "/" } = incoming;
    if (swallow(method, url)) return;
    const chunks: Buffer[] = [];
    incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
    incoming.on("end", () => {
      const kept = Object.entries(incoming.headers).flatMap(([name, value]) =>
        typeof value === "string" && name !== "connection" && name !== "content-length"
          ? [[name, value] as const]
          : [],
      );
      const headers = Object.fromEntries(kept);
      const body = chunks.length === 0 ? {} : { body: Buffer.concat(chunks) };
      const passOn = async (): Promise<void> => {
        const answer = await fetch(`${target}${url}`, { method, headers, ...body });
        outgoing.writeHead(answer.status, {
          "content-type": answer.headers.get("content-type") ?? "",
        });
        // Part URLs name the server itself; parts are to come through here as well.
        outgoing.end((await answer.text()).replaceAll(target, self()));
      };
      passOn().catch(() => outgoing.destroy()); // as the server behind us did
    });
  });
  const self = (): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: self(),
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
