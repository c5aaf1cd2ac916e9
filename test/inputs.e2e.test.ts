import assert from "node:assert/strict";
import { mkdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import {
  BUNDLE,
  handpick,
  isServed,
  type Result,
  type ServeRig,
  startHandpick,
  startServe,
} from "./handpick.ts";
import { SyncRig } from "./sync/sync-rig.ts";

const ABSENT = "/nix/store/00000000000000000000000000000000-absent-1.0";

/** The events of `push --json`. */
function eventsOf({ stdout }: Result): Record<string, unknown>[] {
  const lines = stdout.trim().split("\n");
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

describe("what push and plan are given", { timeout: 120_000 }, () => {
  let rig: SyncRig;
  let mine: ServeRig;
  let second: ServeRig;
  let env: Readonly<Record<string, string>>;
  before(async () => {
    rig = await SyncRig.create();
    mine = await startServe(rig.nix);
    second = await startServe(rig.nix, { name: "second" });
    env = { ...rig.env, HANDPICK_CONFIG: join(rig.nix.dir, "handpick.toml") };
  });
  after(async () => {
    await mine[Symbol.asyncDispose]();
    await second[Symbol.asyncDispose]();
    await rig[Symbol.asyncDispose]();
  });

  const run = (args: readonly string[], stdin = ""): Promise<Result> =>
    handpick(rig.nix, args, { env, stdin, uncovered: true });
  /** Runs a line of shell in which `handpick` is a function. */
  const shell = async (line: string): Promise<Result> => {
    const start = `handpick() { '${process.execPath}' '${BUNDLE}' "$@"; }`;
    const options = { env, cwd: rig.nix.dir, allowFailure: true };
    return rig.nix.run("sh", ["-c", `${start}\n${line}`], options);
  };
  const places = async (path: string): Promise<boolean[]> => [
    await isServed(mine, path),
    await isServed(second, path),
  ];
  const add = (name: string): Promise<string> => rig.nix.add(name, `${name} ${rig.nix.dir}`);

  describe("that is nothing", () => {
    it("is a usage error, whatever is wanted", async () => {
      const { app } = await rig.declare("home", [{ packages: ["app"] }]);
      for (const command of ["push", "plan"]) {
        const result = await shell(`handpick ${command} $(false) </dev/null`);
        assert.deepEqual([command, result.status], [command, 2], result.stderr);
        assert.match(result.stderr, /expected a path, .* found none \[USAGE\]\n.*--wanted/);
      }
      assert.equal(await isServed(mine, app), false);
    });

    it("is told of a pipe that is not read", async () => {
      const { status, stderr } = await shell(`echo ${ABSENT} | handpick push`);
      assert.deepEqual([status, /\| handpick push --stdin/.test(stderr)], [2, true], stderr);
    });

    it("is an error on stdin, too: what lists the paths has failed", async () => {
      for (const args of [
        ["push", "--stdin"],
        ["plan", "-"],
        ["push", await add("beside"), "-"],
      ]) {
        const { status, stderr } = await run(args, "\n");
        assert.deepEqual([args, status], [args, 2], stderr);
        assert.match(stderr, /Cannot select anything from stdin: it is empty \[USAGE\]/);
      }
    });

    it("is not that with --wanted, which takes no paths", async () => {
      const { app, lib } = await rig.declare("home", [{ packages: ["app"] }]);
      const both = await run(["push", "--wanted", app]);
      assert.deepEqual([both.status, await isServed(mine, app)], [2, false], both.stderr);
      const result = await run(["push", "--wanted"]);
      assert.equal(result.status, 0, result.stderr);
      assert.deepEqual([await isServed(mine, app), await isServed(mine, lib)], [true, true]);
      await rig.withdraw("home");
      const none = await run(["push", "--wanted"]);
      assert.deepEqual([none.status, /Nothing is wanted in /.test(none.stderr)], [2, true]);
    });

    it("is nothing with --wanted where the selections have ended, and status tells of them", async () => {
      const link = join(rig.state, "wanted", "gone");
      await mkdir(join(rig.state, "wanted"), { recursive: true, mode: 0o700 });
      await symlink(ABSENT, link);
      const { status, stderr } = await run(["plan", "--wanted"]);
      await rm(link);
      assert.equal(status, 0, stderr);
      assert.match(stderr, /nothing is selected; handpick status shows /);
    });

    it("takes - for stdin", async () => {
      const [one, other] = [await add("one"), await add("other")];
      const result = await run(["push", one, "-"], `${other}\n`);
      assert.equal(result.status, 0, result.stderr);
      assert.deepEqual([await isServed(mine, one), await isServed(mine, other)], [true, true]);
    });
  });

  describe("with more than one cache", () => {
    it("goes to each --to", async () => {
      const path = await add("to-both");
      const result = await run(["push", "--to", "mine", "-t", "second", path]);
      assert.equal(result.status, 0, result.stderr);
      assert.deepEqual(await places(path), [true, true]);
    });

    it("is planned for the other caches where one is down, and JSON tells of that one", async () => {
      const file = join(rig.nix.dir, "one-down.toml");
      const down = '[caches.down]\nurl = "cachix://down"\nhost = "http://127.0.0.1:1"\n';
      const text = await readFile(join(rig.nix.dir, "handpick.toml"), "utf8");
      await writeFile(file, `${text}\n${down}token-env = "HOME"\n`);
      const args = ["plan", "--json", "--config", file, "--to", "down", "--to", "second"];
      const { status, stdout } = await run([...args, await add("down")]);
      const plan = JSON.parse(stdout) as { paths: unknown[]; errors: { code: string }[] };
      const codes = plan.errors.map(({ code }) => code);
      assert.deepEqual([status, plan.paths.length, codes], [1, 1, ["NETWORK"]]);
    });

    it("goes to every cache of the configuration with --all", async () => {
      const path = await add("to-all");
      const result = await run(["push", "--all", path]);
      assert.equal(result.status, 0, result.stderr);
      assert.deepEqual(await places(path), [true, true]);
      const file = join(rig.nix.dir, "empty.toml");
      await writeFile(file, "");
      assert.equal((await run(["push", "--config", file, "--all", path])).status, 2);
    });

    it("is refused with both, before anything is read or sent", async () => {
      const path = await add("to-either");
      for (const command of ["push", "plan"]) {
        const result = await run([command, "--all", "--to", "second", path]);
        assert.deepEqual([command, result.status], [command, 2], result.stderr);
        assert.match(result.stderr, /--to and --all together \[USAGE\]\n {2}Leave out --all /);
      }
      assert.deepEqual(await places(path), [false, false]);
    });

    it("counts one that is named twice once", async () => {
      const path = await add("to-one");
      const caches = ["--to", "second", "--to", "second", "--to", "cachix://second"];
      const result = await run(["push", "--json", ...caches, path]);
      assert.equal(result.status, 0, result.stderr);
      const events = eventsOf(result).map(({ event, cache }) => [event, cache]);
      assert.deepEqual(
        events.filter(([event]) => event === "plan"),
        [["plan", "second"]],
      );
      assert.deepEqual(await places(path), [false, true]);
    });
  });

  describe("of which one cannot be selected", () => {
    it("is pushed but for that one, which is named, and exits with 1", async () => {
      const [first, last] = [await add("first"), await add("last")];
      const result = await run(["push", first, ABSENT, "./nowhere", last]);
      assert.equal(result.status, 1, result.stderr);
      assert.match(
        result.stderr,
        /✗ Cannot select ".*absent-1.0": .* not valid .*\[PATH_NOT_VALID\]/,
      );
      assert.match(result.stderr, /✗ Cannot select ".\/nowhere": .*\[NOT_A_STORE_PATH\]/);
      assert.match(result.stdout, /^2 pushed .* 2 failed in /);
      assert.deepEqual([await isServed(mine, first), await isServed(mine, last)], [true, true]);
    });

    it("tells programs of it, and on stdin alike", async () => {
      const path = await add("piped");
      const result = await run(["push", "--json", "--stdin"], `${ABSENT} ${path}`);
      assert.equal(result.status, 1, result.stderr);
      const [rejected] = eventsOf(result).filter(({ event }) => event === "rejected");
      assert.equal(rejected?.["input"], ABSENT);
      assert.match(JSON.stringify(rejected), /"code":"PATH_NOT_VALID"/);
      const planned = await run(["plan", "--json", ABSENT, path]);
      const plan = JSON.parse(planned.stdout) as {
        paths: unknown[];
        rejected: { input: string }[];
      };
      assert.deepEqual(
        [planned.status, plan.paths.length, plan.rejected.map(({ input }) => input)],
        [1, 1, [ABSENT]],
      );
    });

    it("counts as failed too where nothing else is left to push", async () => {
      const runs: readonly (readonly [args: string[], stdin: string, code: number])[] = [
        [["--stdin"], `${ABSENT} ./nowhere`, 2],
        [[ABSENT], "", 2],
        [["--all-or-nothing", await add("fine"), ABSENT, "./nowhere"], "", 2],
      ];
      for (const [args, stdin, code] of runs) {
        const result = await run(["push", "--json", ...args], stdin);
        const { failed } = eventsOf(result).at(-1) ?? {};
        const bad = args[0] === ABSENT ? 1 : 2;
        assert.deepEqual([args, result.status, failed], [args, code, bad], result.stderr);
      }
    });

    it("is told even with --quiet", async () => {
      const { status, stderr } = await run(["push", "--quiet", ABSENT, await add("quiet")]);
      assert.deepEqual([status, /absent-1\.0/.test(stderr)], [1, true]);
    });

    it("is refused as a whole with --all-or-nothing", async () => {
      const path = await add("nothing");
      const result = await run(["push", "--all-or-nothing", path, ABSENT, "./nowhere"]);
      assert.equal(result.status, 2, result.stderr);
      assert.match(result.stderr, /absent-1\.0[^]*\.\/nowhere/);
      assert.equal(await isServed(mine, path), false);
    });

    it("is a usage error if it is the only one", async () => {
      const result = await run(["push", ABSENT]);
      assert.deepEqual([result.status, /PATH_NOT_VALID/.test(result.stderr)], [2, true]);
    });

    it("is pushed but for a path that a manifest names and the store lacks", async () => {
      const [first, other] = [await add("picked"), await add("other-pick")];
      const picks = [
        { name: "gone", paths: [ABSENT, first], pin: "gone" },
        { name: "other", paths: [other] },
      ];
      const file = join(rig.nix.dir, "picks.json");
      await writeFile(file, JSON.stringify({ version: 1, name: "m", picks }));
      const result = await run(["push", "--to", "mine", file]);
      assert.equal(result.status, 1, result.stderr);
      assert.match(result.stderr, /Cannot select pick "gone": .*absent-1\.0 is not valid/);
      assert.ok(!result.stderr.includes("pinned"), "another path than the first is not pinned");
      assert.deepEqual([await isServed(mine, first), await isServed(mine, other)], [true, true]);
    });
  });

  describe("that means something else", () => {
    it("is told how a cache is named", async () => {
      const path = await add("office");
      for (const word of ["mine", "cachix://mine"]) {
        const result = await run(["push", word, path]);
        assert.deepEqual([word, result.status], [word, 2], result.stderr);
        assert.ok(result.stderr.includes(`Name the cache by an option: --to ${word}.`));
      }
      assert.equal(await isServed(mine, path), false);
      const file = join(rig.nix.dir, "none.toml");
      await writeFile(file, "");
      const { status, stderr } = await run(["push", "--config", file, "--to", "mycache", path]);
      assert.deepEqual([status, stderr.includes("Did you mean cachix://mycache?")], [2, true]);
    });

    it("is a file if there is one of that name", async () => {
      const path = await add("named-as-a-cache");
      await rig.nix.run("ln", ["-s", path, join(rig.nix.dir, "second")]);
      const result = await run(["push", "second"]);
      assert.deepEqual([result.status, await isServed(mine, path)], [0, true], result.stderr);
    });
  });

  it("answers errors in JSON where the answer is JSON", async () => {
    const table: readonly (readonly [args: string[], code: string])[] = [
      [["plan", "--json"], "USAGE"],
      [["plan", "--json", "./nowhere"], "NOT_A_STORE_PATH"],
      [["plan", "--json", "--to", "min", await add("json")], "CACHE_UNKNOWN"],
      [["plan", "--json", "--nonsense"], "USAGE"],
      [["pin", "--json", "x", "./nowhere"], "NOT_A_STORE_PATH"],
      [["pin", "--json", "x"], "USAGE"],
      [["keygen", "--json", "no/name"], "USAGE"],
      [["status", "--json", "--nonsense"], "USAGE"],
      [["use", "--json"], "USAGE"],
    ];
    for (const [args, code] of table) {
      const { status, stdout, stderr } = await run(args);
      const answer = JSON.parse(stdout) as { version: number; error: { code: string } };
      assert.deepEqual([args, status, answer.version, answer.error.code], [args, 2, 1, code]);
      assert.notEqual(stderr, "", "people are told as well");
    }
    for (const args of [
      ["push", "--json"],
      ["sync", "--json", "-c", "none.tml"],
      ["push", "--json", "-x"],
    ]) {
      const result = await run(args);
      const events = eventsOf(result).map(({ event }) => event);
      assert.deepEqual([args, result.status, events], [args, 2, ["error", "summary"]]);
    }
    assert.equal((await run(["exec", "--json"])).stdout, "", "stdout is the command's");
  });

  it("tells of a command line that it cannot read as of everything else", async () => {
    const table: readonly (readonly [args: string[], stderr: RegExp])[] = [
      [["psuh"], /^handpick: Unknown command 'psuh' \[USAGE\]\n {2}Did you mean push\? Run .*\n$/],
      [["a\u001B[31mb"], /^handpick: Unknown command 'a\[31mb' \[USAGE\]\n {2}Run .*\n$/],
      [
        ["push", "--nonsense"],
        /^handpick: Unknown option .*\n {2}Run `handpick push --help` .*\n$/,
      ],
      [["push", "--to"], /^handpick: Option .* argument missing \[USAGE\]\n.*\n$/],
      [["pin", "x"], /^handpick: .* \[USAGE\]\n {2}.*\n$/],
    ];
    for (const [args, expected] of table) {
      const { status, stderr } = await run(args);
      assert.deepEqual([args, status], [args, 2], stderr);
      assert.match(stderr, expected);
    }
    assert.match((await run([])).stderr, /^Usage: handpick/);
  });

  it("says how a command of cachix is called here", async () => {
    const ours = {
      "watch-store": "handpick watch",
      "watch-exec": "handpick exec -- COMMAND",
      use: "nix.conf",
      authtoken: "CACHIX_AUTH_TOKEN",
      "generate-keypair": "handpick keygen NAME",
    };
    for (const [verb, words] of Object.entries(ours)) {
      for (const args of [
        [verb, "mycache"],
        ["help", verb],
        [verb, "--help"],
      ]) {
        const { status, stderr } = await run(args);
        assert.deepEqual([args, status, stderr.trim().split("\n").length], [args, 2, 1], stderr);
        assert.ok(stderr.includes(words), stderr);
      }
    }
  });

  it("prints its version by every name for it", async () => {
    const { version } = JSON.parse(await readFile("package.json", "utf8")) as { version: string };
    for (const args of [["-v"], ["version"], ["-V"], ["--version"], ["version", "--json"]]) {
      // The sources have no version of their own.
      const { status, stdout } = await handpick(rig.nix, args, { env, uncovered: true });
      assert.deepEqual([args, status, stdout], [args, 0, `${version}\n`]);
    }
  });

  it("colours plans, status and errors where colours are, and nowhere else", async () => {
    const lines = [["plan", await add("coloured")], ["status"], ["push", "./nowhere"]];
    for (const args of lines) {
      for (const [variable, isColoured] of [
        ["FORCE_COLOR", true],
        ["NO_COLOR", false],
        ["TERM", false],
      ] as const) {
        const options = { env: { ...env, [variable]: "1" } };
        const { stdout, stderr } = await handpick(rig.nix, args, options);
        assert.equal(
          `${stdout}${stderr}`.includes("\u001b["),
          isColoured,
          `${args[0]} ${variable}`,
        );
      }
    }
  });

  it("says that nix is not on PATH", async () => {
    const child = startHandpick(rig.nix, ["push", ".#tool"], { env: { ...env, PATH: "/nowhere" } });
    child.stdin.end();
    let stderr = "";
    for await (const text of child.stderr) stderr += String(text);
    assert.match(stderr, /Cannot build ".#tool": nix is not on PATH \[INSTALLABLE_FAILED\]/);
  });
});
