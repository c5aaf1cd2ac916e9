import assert from "node:assert/strict";
import { createReadStream } from "node:fs";
import { mkdir, readdir, rm, stat, symlink, utimes, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, before, describe, it } from "node:test";

import type { Suggestion } from "../src/suggest/rank.ts";
import { handpick, type Result } from "./handpick.ts";
import { createTestNix, type TestNix } from "./nix.ts";

const PACKAGES = `
let
  sh = name: extra: derivation ({
    inherit name;
    system = builtins.currentSystem;
    builder = "/bin/sh";
    PATH = "/bin:/usr/bin:/run/current-system/sw/bin";
    args = [ "-c" "mkdir $out; echo $refs $salt > $out/$name" ];
  } // extra);
in rec {
  lib = sh "lib-1.0" { };
  tool = sh "tool-1.0" { refs = lib; };
  old = sh "old-1.0" { };
  result = sh "x11-result-1.0" { };
  present = sh "present-1.0" { };
  served = sh "served-1.0" { };
  fetched = sh "fetched-1.0" { };
  loose = sh "loose-1.0" { };
  replaced = sh "loose-0.9" { };
  editor = sh "editor-1.0" { };
  picked = sh "editor-1.0" { salt = "other"; };
}
`;
const NAMES = [
  "lib",
  "tool",
  "old",
  "result",
  "present",
  "served",
  "fetched",
  "replaced",
  "loose",
  "editor",
  "picked",
] as const;
type Name = (typeof NAMES)[number];

/** Returns the URL of a server that listens from now on. */
async function listen(server: Server): Promise<string> {
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

describe("handpick suggest", { timeout: 180_000 }, () => {
  let nix: TestNix;
  let upstream: Server;
  const paths = new Map<Name, string>();

  const run = (...args: readonly string[]): Promise<Result> =>
    handpick(nix, args, { env: { HANDPICK_STATE_DIR: join(nix.dir, "state") } });
  const pathOf = (name: Name): string => paths.get(name) ?? assert.fail();
  const folderOf = (name: string): string => join(nix.dir, name);

  before(async () => {
    nix = await createTestNix();
    await writeFile(join(nix.dir, "packages.nix"), PACKAGES);
    const attributes = NAMES.flatMap((name) => ["-A", name]);
    const { stdout } = await nix.run("nix-build", ["packages.nix", "--no-out-link", ...attributes]);
    for (const [index, path] of stdout.trim().split("\n").entries()) {
      paths.set(NAMES[index] ?? assert.fail(), path);
    }
    await nix.run("nix-build", ["packages.nix", "-A", "result", "-o", folderOf("my-result")]);
    age("replaced");
    upstream = createServer(({ url = "" }, answer) => {
      const file = createReadStream(join(folderOf("upstream"), url));
      file.on("error", () => answer.writeHead(404).end());
      file.pipe(answer);
    });
    const url = await listen(upstream);
    await writeFile(
      join(nix.dir, "handpick.toml"),
      [`[caches.mine]\nurl = "file://${folderOf("mine")}"`, `upstreams = ["${url}"]\n`].join("\n"),
    );
    await pushTo("mine", pathOf("present"));
    await pushTo("upstream", pathOf("served"));
    await fetchAgain(pathOf("fetched"));
    await install("old");
    await install("tool", "present", "served", "fetched", "editor");
    await want("home", pathOf("picked"));
    await setBuildTime("tool", 90_000);
    await setBuildTime("lib", 30_000);
    await setBuildTime("result", 3_600_000);
  });
  after(async () => {
    upstream.close();
    await nix[Symbol.asyncDispose]();
  });

  /** Has a path built a day before it was. */
  function age(name: Name): void {
    using db = new DatabaseSync(join(nix.stateDir, "db/db.sqlite"));
    const statement =
      "UPDATE ValidPaths SET registrationTime = registrationTime - 86400 WHERE path = ?";
    db.prepare(statement).run(pathOf(name));
  }

  async function pushTo(folder: string, path: string): Promise<void> {
    const { status, stderr } = await run("push", "--to", `file://${folderOf(folder)}`, path);
    assert.equal(status, 0, stderr);
  }

  /** Has Nix fetch a path from a cache that nobody declared, as if it had never been built here. */
  async function fetchAgain(path: string): Promise<void> {
    await pushTo("elsewhere", path);
    const { stdout } = await nix.run("nix-store", ["--query", "--deriver", path]);
    await nix.run("nix-store", ["--delete", path]);
    await rm(logOf(stdout.trim()));
    const key = ["--option", "require-sigs", "false"];
    const from = ["--option", "substituters", `file://${folderOf("elsewhere")}`];
    await nix.run("nix-store", ["--realise", path, ...from, ...key]);
    await nix.run("nix", ["store", "sign", "--key-file", await makeKey(), path]);
  }

  async function makeKey(): Promise<string> {
    const file = folderOf("elsewhere.key");
    const { status, stderr } = await run("keygen", "--out", file, "elsewhere-1");
    assert.equal(status, 0, stderr);
    return file;
  }

  /** Makes a generation of a profile that has these packages and no others. */
  async function install(...names: readonly Name[]): Promise<void> {
    const folder = join(nix.dir, "home/.local/state/nix/profiles");
    await mkdir(folder, { recursive: true });
    const all = names.map(pathOf);
    await nix.run("nix-env", ["-p", join(folder, "mine"), "-i", "--remove-all", ...all]);
  }

  async function want(name: string, path: string): Promise<void> {
    const picks = [{ name: "editor", paths: [path] }];
    const manifest = await nix.add("home.json", JSON.stringify({ version: 1, name, picks }));
    await mkdir(join(nix.dir, "state/wanted"), { recursive: true, mode: 0o700 });
    await symlink(manifest, join(nix.dir, "state/wanted", name));
  }

  function logOf(derivation: string): string {
    const name = derivation.slice(derivation.lastIndexOf("/") + 1);
    return join(nix.dir, "log/drvs", name.slice(0, 2), `${name.slice(2)}.bz2`);
  }

  async function setBuildTime(name: Name, durationMs: number): Promise<void> {
    const { stdout } = await nix.run("nix-store", ["--query", "--deriver", pathOf(name)]);
    const log = logOf(stdout.trim());
    const { birthtimeMs } = await stat(log);
    const end = (birthtimeMs + durationMs) / 1000;
    await utimes(log, end, end);
  }

  it("lists what was built here and is nowhere, by the time it saves for each byte", async () => {
    const { status, stdout, stderr } = await run("suggest", "-q");
    assert.deepEqual([status, stderr], [0, ""]);
    const lines = stdout.trimEnd().split("\n");
    assert.deepEqual(
      lines.map((line) => line.replaceAll(/ +/g, " ")),
      [
        ` 1 h 0 min 296 B x11-result-1.0 built today, for ${folderOf("my-result")}`,
        " 2 min 0 s 632 B tool-1.0 built today, for mine",
        " 30 s 288 B lib-1.0 built today, for mine",
      ],
    );
  });

  it("lists builds of seconds, of an old generation and of no root with --all", async () => {
    const { status, stdout, stderr } = await run("suggest", "--all", "--json");
    assert.equal(status, 0, stderr);
    const { version, suggestions, quick } = JSON.parse(stdout);
    assert.deepEqual([version, quick], [1, 0]);
    const found = new Map<string, Suggestion>(
      suggestions.map((one: Suggestion) => [one.name, one]),
    );
    const old = { kind: "profile", name: "mine", generation: 1 };
    const wanters = {
      "x11-result-1.0": [{ kind: "link", name: folderOf("my-result") }],
      "tool-1.0": [{ kind: "profile", name: "mine" }],
      "lib-1.0": [{ kind: "profile", name: "mine" }],
      "editor-1.0": [{ kind: "profile", name: "mine" }],
      "old-1.0": [old],
      "loose-1.0": [],
    };
    assert.deepEqual([...found.keys()].toSorted(), Object.keys(wanters).toSorted());
    for (const [name, wantedBy] of Object.entries(wanters)) {
      assert.deepEqual(found.get(name)?.wantedBy, wantedBy);
    }
    const { paths: outputs, pushPaths, buildMs, savedMs } = found.get("tool-1.0") ?? assert.fail();
    assert.deepEqual(
      { outputs, pushPaths, buildMs, savedMs },
      { outputs: [pathOf("tool")], pushPaths: 2, buildMs: 90_000, savedMs: 120_000 },
    );
    assert.deepEqual(found.get("editor-1.0")?.paths, [pathOf("editor")]);
  });

  it("warns of a pick of which another build is installed, and counts what it leaves out", async () => {
    const { stderr } = await run("suggest");
    const base = (name: Name): string => pathOf(name).slice(nix.storeDir.length + 1);
    assert.deepEqual(stderr.trimEnd().split("\n"), [
      `handpick: warning: pick editor of home is ${base("picked")}, ` +
        `and ${base("editor")} is installed: readers get another build`,
      "handpick: 5 builds of less than 5 s left out; see --all",
    ]);
    const { differing } = JSON.parse((await run("suggest", "--json")).stdout);
    const pick = { name: "editor", selection: "home" };
    assert.deepEqual(differing, [{ pick, path: pathOf("picked"), installed: pathOf("editor") }]);
  });

  it("prints a list that Nix evaluates", async () => {
    const { status, stdout, stderr } = await run("suggest", "--nix", "-q");
    assert.equal(status, 0, stderr);
    const pkgs = '{ x11-result = "r"; tool = "t"; lib = "l"; }';
    const args = ["--eval", "--strict", "--json", "-E", `let pkgs = ${pkgs}; in\n${stdout}`];
    assert.equal((await nix.run("nix-instantiate", args)).stdout.trim(), '["r","t","l"]');
  });

  it("sends nothing to the cache", async () => {
    const files = (await readdir(folderOf("mine"))).filter((name) => name.endsWith(".narinfo"));
    assert.deepEqual(files, [
      `${pathOf("present")
        .slice(nix.storeDir.length + 1)
        .slice(0, 32)}.narinfo`,
    ]);
  });

  it("asks the cache of NixOS where none is configured, and warns if that does not answer", async () => {
    const proxy = createServer();
    proxy.on("connect", (_, socket) => {
      socket.on("error", () => undefined); // handpick hangs up
      socket.end("HTTP/1.1 403 Forbidden\r\n\r\n");
    });
    const env = { HANDPICK_STATE_DIR: join(nix.dir, "state"), https_proxy: await listen(proxy) };
    try {
      const args = ["suggest", "--json"];
      const { status, stdout, stderr } = await handpick(nix, args, { env, cwd: nix.stateDir });
      assert.equal(status, 0, stderr);
      assert.equal(JSON.parse(stdout).suggestions.length, 3);
      assert.match(stderr, /upstream cache\.nixos\.org.*; what it may have counts as not served/);
    } finally {
      proxy.close();
    }
  });

  it("asks another cache with --to, and tells of one that fails beside others", async () => {
    const away = `file://${join(nix.dir, "packages.nix")}`;
    const to = ["--to", `file://${folderOf("upstream")}`];
    const both = await run("suggest", "--all", "--json", ...to, "--to", away);
    assert.equal(both.status, 3, both.stderr);
    const { suggestions, errors } = JSON.parse(both.stdout);
    const names = suggestions.map(({ name }: Suggestion) => name);
    assert.deepEqual([names.includes("present-1.0"), names.includes("served-1.0")], [true, false]);
    assert.deepEqual([errors.length, errors[0].code], [1, "CACHE_NOT_FOUND"]);
    assert.equal((await run("suggest", "--to", away)).status, 3);
  });
});
