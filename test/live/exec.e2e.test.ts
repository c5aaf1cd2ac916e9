import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { handpick, isServed, resultOf, startServe } from "../handpick.ts";
import { ROOT } from "../markdown.ts";
import { APP_CLOSURE, LiveRig, onceOnly, told } from "./live-rig.ts";

const NOWHERE = "http://127.0.0.1:9";

describe("handpick exec", { timeout: 120_000 }, () => {
  let rig: LiveRig;
  let tags = 0;
  before(async () => {
    rig = await LiveRig.create();
  });
  after(async () => {
    await rig[Symbol.asyncDispose]();
  });

  const newTag = (): string => `t${++tags}`;

  /** The part of what is served that has a tag. */
  async function servedOf(tag: string): Promise<string[]> {
    return (await rig.served()).filter((name) => name.split("-").includes(tag));
  }

  for (const [way, words] of [
    ["hook", "found by a post-build-hook"],
    ["store", "found by watching the store"],
  ] as const) {
    it(`pushes exactly what the rules accept, told by ${way}`, async () => {
      const tag = newTag();
      const command = rig.building(tag, "tool", "data");
      const result = await rig.exec("-i", "app-*", "--via", way, "--", ...command);
      assert.equal(result.status, 0, result.stderr);
      assert.ok(result.stderr.includes(words), result.stderr);
      const names = result.stdout.trim().split("\n");
      assert.deepEqual(
        names.map((path) => path.slice(44)),
        [`tool-${tag}`, `data-${tag}`],
      );
      assert.deepEqual(await servedOf(tag), APP_CLOSURE(tag));
      assert.match(result.stderr, /^3 pushed \(\d+ B\) in /m);
      assert.deepEqual(await rig.leftovers(), []);
    });
  }

  it("takes the hook where we build ourselves, and pushes what a manifest that is built names", async () => {
    const bash = (await rig.nix.run("sh", ["-c", "command -v bash"])).stdout.trim();
    const text = `let
      pkgs = import ${ROOT}test/toy-pkgs.nix { bash = "${bash}"; };
      handpick = import ${ROOT}nix/lib.nix { inherit pkgs; };
    in handpick.cachixPackages { cache = "cachix://mine"; packages = [ pkgs.greet ]; }`;
    await writeFile(join(rig.nix.dir, "picks.nix"), text);
    const command = ["--", "nix-build", "picks.nix", "--no-out-link"];
    const without = await rig.exec(...command);
    assert.equal(without.status, 2, "nothing would be pushed, so nothing is built");
    const result = await rig.exec("--manifests", ...command);
    assert.equal(result.status, 0, result.stderr);
    assert.match(result.stderr, /found by a post-build-hook/);
    const isPicked = (name: string): boolean => /greet|words|handpick/.test(name);
    assert.deepEqual((await rig.served()).filter(isPicked), ["greet-1.0", "words-1.0"]);
  });

  it("pushes what a wanted selection names, to the caches of its pick", async () => {
    await using other = await startServe(rig.nix, { name: "other" });
    const tag = newTag();
    const evaluate = ["--eval", "--json", "toy.nix", "-A", "data.outPath", "--argstr", "tag", tag];
    const path: unknown = JSON.parse((await rig.nix.run("nix-instantiate", evaluate)).stdout);
    const picks = [{ name: "data", paths: [path], caches: ["other"] }];
    const manifest = await rig.nix.add(
      "handpick-me.json",
      JSON.stringify({ version: 1, name: "me", picks }),
    );
    const wanted = join(rig.state, "wanted");
    await mkdir(wanted, { recursive: true, mode: 0o700 });
    await symlink(manifest, join(wanted, "me"));
    const result = await rig.exec("--", ...rig.building(tag, "data", "lib"));
    assert.equal(result.status, 0, result.stderr);
    assert.match(result.stderr, /^other: 1 selected, 1 to push/m);
    assert.deepEqual(await servedOf(tag), []);
    assert.equal((await fetch(`${other.url}/${String(path).slice(11, 43)}.narinfo`)).status, 200);
    // Wanted selections are no reason to build where a file that was found decides about caches.
    const found = { env: { ...rig.env, HANDPICK_CONFIG: "" } };
    const refused = await handpick(rig.nix, ["exec", "--to", "mine", "--", "false"], found);
    assert.equal(refused.status, 2, refused.stderr);
    // The configuration names the cache no more from here on.
    await rig.moveCache(rig.serve.url);
  });

  it("pushes what is brought in only where it is told to", async () => {
    await writeFile(join(rig.nix.dir, "brought-in"), "by nobody's build");
    const command = ["-i", "brought-*", "--", "nix-store", "--add", "brought-in"];
    const without = await rig.exec("--via", "store", ...command);
    assert.equal(without.status, 0, without.stderr);
    await rig.nix.run("nix-store", ["--delete", without.stdout.trim()]);
    assert.deepEqual((await rig.served()).includes("brought-in"), false);
    const result = await rig.exec("--substituted", ...command);
    assert.equal(result.status, 0, result.stderr);
    assert.ok((await rig.served()).includes("brought-in"), result.stderr);
  });

  it("tells of what a manifest names and does not refer to, and pushes nothing of it", async () => {
    const secret = await rig.nix.add("unpicked-secret", "secret");
    const picks = [{ name: "a", paths: [secret], caches: ["cachix://other"], pin: "release" }];
    const text = JSON.stringify({ version: 1, name: "m", picks });
    await writeFile(join(rig.nix.dir, "manifest.json"), text);
    const add = ["--substituted", "--strict", "--", "nix-store", "--add", "manifest.json"];
    for (const [options, words] of [
      [["-i", "x"], /manifest\.json is a manifest, which counts only with manifests = true/],
      [["--manifests"], /refused, since it does not refer to them: .*-unpicked-secret$/m],
    ] as const) {
      const result = await rig.exec(...options, ...add);
      assert.equal(result.status, 0, result.stderr);
      assert.match(result.stderr, words);
      assert.match(result.stderr, /^nothing is pushed: /m);
      await rig.nix.run("nix-store", ["--delete", result.stdout.trim()]);
    }
    assert.equal(await isServed(rig.serve, secret), false);
  });

  it("says so where the rules accept nothing, and asks no cache", async () => {
    await rig.moveCache(NOWHERE);
    const result = await rig.exec("--strict", "--", ...rig.building(newTag(), "lib", "data"));
    await rig.moveCache(rig.serve.url);
    assert.equal(result.status, 0, result.stderr);
    assert.match(
      result.stderr,
      /^nothing is pushed: the rules accept none of 2 new paths\n {2}Set include in \[builds\]/m,
    );
  });

  it("tells of an --include that fits nothing of what was built", async () => {
    const tag = newTag();
    const result = await rig.exec("-i", "lib-*", "lbi-*", "--", ...rig.building(tag, "lib"));
    assert.equal(result.status, 0, result.stderr);
    assert.match(result.stderr, /^no build matches --include "lbi-\*"$/m);
    const without = await rig.exec("-i", "lib-*", "--", ...rig.building(newTag(), "lib"));
    assert.doesNotMatch(without.stderr, /--include/);
  });

  it("has the exit code of the command while the cache is down, with --strict 1", async () => {
    await rig.moveCache(NOWHERE);
    const runs = [
      rig.exec("-i", "lib-*", "--", ...rig.building(newTag(), "lib")),
      rig.exec("-i", "lib-*", "--strict", "--", ...rig.building(newTag(), "lib")),
      rig.exec("-i", "lib-*", "--strict", "--", "sh", "-c", `${build(newTag())}; exit 9`),
    ];
    const results = await Promise.all(runs);
    await rig.moveCache(rig.serve.url);
    assert.deepEqual(
      results.map(({ status }) => status),
      [0, 1, 9],
    );
    for (const { stderr } of results) assert.match(stderr, /^handpick: mine: .*\[NETWORK\]$/m);
  });

  const build = (tag: string): string => rig.building(tag, "lib").join(" ");

  it("asks a refusing cache once, and one that was down again when the command has ended", async () => {
    const late = await startServe(rig.nix, { name: "late" });
    await late[Symbol.asyncDispose]();
    const tokens = { refusing: join(rig.nix.dir, "wrong"), late: join(late.dir, "token") };
    await writeFile(tokens.refusing, "wrong", { mode: 0o600 });
    const urls = { refusing: rig.serve.url, late: late.url };
    const tables = (["refusing", "late"] as const).map((name) => {
      const cache = name === "late" ? "late" : "mine";
      return `[caches.${name}]\nurl = "cachix://${cache}"\nhost = "${urls[name]}"\ntoken-file = "${tokens[name]}"\n`;
    });
    await writeFile(join(rig.nix.dir, "both.toml"), tables.join(""));
    const script = `${build(newTag())}; until test -e go; do sleep 0.02; done; ${build(newTag())}`;
    const options = ["-c", "both.toml", "-i", "lib-*", "--strict"];
    const child = rig.start("exec", ...options, "--", "sh", "-c", script);
    const ended = resultOf(child);
    await told(child.stderr, "[NETWORK]");
    await using again = await startServe(rig.nix, {
      name: "late",
      args: ["--listen", late.url.slice("http://".length)],
    });
    await writeFile(join(rig.nix.dir, "go"), "");
    const { status, stderr: lines } = await ended;
    assert.equal(status, 1, lines);
    assert.equal(lines.match(/^handpick: refusing: /gm)?.length, 1, lines);
    assert.equal(lines.match(/^handpick: late: /gm)?.length, 1, lines);
    assert.match(lines, /^2 pushed \(\d+ B\), 2 failed in /m);
    assert.equal(again.url, late.url);
    await rig.moveCache(rig.serve.url);
  });

  it("keeps what a cache misses while it is down from garbage collection", async () => {
    await rig.moveCache(NOWHERE);
    const built = join(rig.nix.dir, "built");
    const wait = "until test -e collect; do sleep 0.02; done";
    const collect = 'nix-store --gc >&2 && nix-store -q --hash "$(cat built)"';
    const script = `${rig.building(newTag(), "data").join(" ")} > ${built}; ${wait}; ${collect}`;
    const child = rig.start("exec", "-i", "data-*", "--", "sh", "-c", script);
    const ended = resultOf(child);
    await told(child.stderr, "[NETWORK]");
    await writeFile(join(rig.nix.dir, "collect"), "");
    const { status, stdout, stderr } = await ended;
    assert.equal(status, 0, stderr);
    assert.match(stdout, /^sha256:/m);
    await rig.moveCache(rig.serve.url);
  });

  describe("and its command", { skip: onceOnly }, () => {
    it("passes on its exit code, and the signal that ended it", async () => {
      assert.equal((await rig.exec("--", "sh", "-c", "exit 7")).status, 7);
      assert.equal((await rig.exec("--", "sh", "-c", "kill -TERM $$")).status, 143);
      assert.equal((await rig.exec("--", "sh", "-c", "kill -KILL $$")).status, 137);
    });

    it("tells one that is not there from one that cannot be run", async () => {
      const missing = await rig.exec("--", "no-such-program", "-x");
      assert.equal(missing.status, 127);
      assert.match(missing.stderr, /Cannot run "no-such-program": .*\[COMMAND_NOT_FOUND\]$/m);
      await writeFile(join(rig.nix.dir, "plain"), "");
      for (const file of ["./plain", "./tmp"]) {
        const unusable = await rig.exec("--", file);
        assert.equal(unusable.status, 126, file);
        assert.match(unusable.stderr, /\(EACCES\) \[COMMAND_UNUSABLE\]$/m);
      }
      assert.equal((await rig.exec("--", "")).status, 127);
      assert.deepEqual(await rig.leftovers(), []);
    });

    it("does not run what could never be pushed", async () => {
      const env = { HANDPICK_STATE_DIR: join(rig.nix.dir, "empty") };
      const touch = ["--", "touch", "touched"];
      for (const options of [[], ["--to", "mine"], ["--strict"]]) {
        const result = await handpick(rig.nix, ["exec", ...options, ...touch], { env });
        assert.equal(result.status, 2, options.join(" "));
        assert.match(result.stderr, /no rule accepts anything of it \[USAGE\]\n {2}Set include/);
      }
      await assert.rejects(readFile(join(rig.nix.dir, "touched")));
    });

    it("says how the command is told from globs that took it in", async () => {
      const { status, stderr } = await rig.exec("-i", "my-*", "touch", "touched");
      assert.equal(status, 2);
      assert.match(
        stderr,
        /Missing required argument 'command' \[USAGE\]\n.*; -- ends the options, as in/,
      );
    });

    it("does not run with a command line that makes no sense", async () => {
      await writeFile(join(rig.nix.dir, "nothing.toml"), "");
      const touch = ["--", "touch", "touched"];
      for (const args of [
        [],
        ["--via", "pigeon", ...touch],
        ["--via", "hook", "--substituted", ...touch],
        ["-i", "{", ...touch],
        ["--to", "nobody", ...touch],
        ["-c", "absent.toml", ...touch],
        ["-c", "nothing.toml", "-i", "x", ...touch],
      ]) {
        assert.equal((await rig.exec(...args)).status, 2, args.join(" "));
      }
      await assert.rejects(readFile(join(rig.nix.dir, "touched")));
    });

    it("gives it its words and its input as they are, and leaves its output alone", async () => {
      const bytes = randomBytes(3 << 20);
      await writeFile(join(rig.nix.dir, "bytes"), bytes);
      const copied = rig.start("exec", "--", "cat", "bytes");
      const chunks: Buffer[] = [];
      for await (const chunk of copied.stdout) chunks.push(chunk as Buffer);
      assert.ok(Buffer.concat(chunks).equals(bytes));
      const words = ["$HOME; echo", "-q", "--", "--json", "a  b"];
      const told = await rig.exec("--json", "--", "printf", "<%s>", ...words);
      assert.equal(told.stdout, words.map((word) => `<${word}>`).join(""));
      assert.match(told.stderr, /nothing is pushed: nothing was built/);
      const events = told.stderr.trim().split("\n");
      assert.deepEqual(
        events.map((line) => (JSON.parse(line) as { event: string }).event),
        ["note", "note"],
      );
      const options = { env: rig.env, stdin: "fed" };
      assert.equal((await handpick(rig.nix, ["exec", "-q", "--", "cat"], options)).stdout, "fed");
      assert.equal((await handpick(rig.nix, ["exec", "-q", "--", "cat"], options)).stderr, "");
    });

    it("gives it its environment, with a line more in NIX_CONFIG", async () => {
      const NIX_CONFIG = "keep-going = true\nmax-jobs = 1";
      const env = { ...rig.env, NIX_CONFIG, MINE: "kept" };
      const result = await handpick(rig.nix, ["exec", "-i", "x", "--", "env", "-0"], { env });
      const found = Object.fromEntries(
        result.stdout.split("\0").map((line) => {
          const at = line.indexOf("=");
          return [line.slice(0, at), line.slice(at + 1)];
        }),
      );
      const hook = `${rig.nix.dir}/tmp/handpick-exec-`;
      assert.ok(found["NIX_CONFIG"]?.startsWith(`${NIX_CONFIG}\npost-build-hook = ${hook}`));
      for (const [name, value] of Object.entries({ ...rig.nix.env, ...env })) {
        if (name !== "NIX_CONFIG") assert.equal(found[name], value, name);
      }
      assert.ok(!result.stdout.includes(rig.serve.token));
    });
  });
});
