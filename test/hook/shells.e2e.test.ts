import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, beforeEach, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { sourceTree } from "../sources.ts";
import { ShellRig } from "./shell-rig.ts";

const FEATURES = ["--extra-experimental-features", "nix-command flakes"];
/** Variables without which a shell would find the Nix of the machine. */
const KEPT = ["HANDPICK_STATE_DIR", "NIX_STORE_DIR", "NIX_STATE_DIR"];

const direnv = spawnSync("direnv", ["version"]).status === 0;
const nixDirenv = sourceTree("nix-direnv");
const needsDirenv = direnv ? false : "direnv is not here";

/** A way into a shell, which runs `echo inside` there. */
interface Way {
  readonly name: string;
  readonly command: readonly string[];
  /** The text of `.envrc`. */
  readonly envrc?: (rig: ShellRig) => Promise<string> | string;
  readonly skip?: string | false;
}

const WAYS: readonly Way[] = [
  { name: "nix-shell", command: ["nix-shell", "--run", "echo inside"] },
  {
    name: "nix-shell --pure",
    command: [
      "nix-shell",
      "--pure",
      "--run",
      "echo inside",
      ...KEPT.flatMap((name) => ["--keep", name]),
    ],
  },
  {
    name: "nix develop",
    command: [
      "nix",
      ...FEATURES,
      "--offline",
      "develop",
      "-f",
      "shell.nix",
      "-c",
      "echo",
      "inside",
    ],
  },
  {
    name: "a sourced nix print-dev-env",
    command: [
      "bash",
      "--norc",
      "-c",
      `nix --extra-experimental-features nix-command print-dev-env --offline -f shell.nix >dev-env
       . ./dev-env; echo inside`,
    ],
  },
  { name: "direnv", command: ["direnv", "exec", ".", "echo", "inside"], envrc: () => "use nix" },
  {
    name: "nix-direnv",
    command: ["direnv", "exec", ".", "echo", "inside"],
    envrc: () => `source ${"dir" in nixDirenv ? nixDirenv.dir : ""}/direnvrc\nuse nix`,
    skip: "skip" in nixDirenv ? nixDirenv.skip : false,
  },
  {
    name: "a line in .envrc",
    command: ["direnv", "exec", ".", "echo", "inside"],
    envrc: async (rig) => {
      const result = await rig.enter(["nix-build", "shell.nix", "-A", "file", "-o", "hook"]);
      assert.equal(result.status, 0, result.stderr);
      return "strict_env\nsource ./hook";
    },
  },
];

describe("entering a shell while the cache hangs", { timeout: 120_000 }, () => {
  let rig: ShellRig;
  before(async () => {
    rig = await ShellRig.create();
  });
  beforeEach(async () => {
    await rig.killAll(); // what a test that failed has left
    await rm(rig.state, { recursive: true, force: true });
  });
  after(() => rig[Symbol.asyncDispose]());

  for (const { name, command, envrc, skip } of WAYS) {
    const reason = skip || (envrc === undefined ? false : needsDirenv);
    it(
      `ends, leaves one sync at work, and the next time none: ${name}`,
      { skip: reason },
      async () => {
        await rm(rig.state, { recursive: true, force: true });
        if (envrc !== undefined) {
          await writeFile(join(rig.project, ".envrc"), `${await envrc(rig)}\n`);
          assert.equal((await rig.enter(["direnv", "allow"])).status, 0);
        }
        const first = await rig.enter(command);
        assert.deepEqual([first.status, first.stdout], [0, "inside\n"], first.stderr);
        assert.deepEqual(await rig.picks(), [
          { name: "words", caches: ["mine"], closure: "runtime", exclude: ["*-nothing"] },
          { name: "greeting", caches: ["mine"], closure: "self", exclude: [], pin: "greet" },
        ]);
        const { pid, ...sync } = await rig.nextSync();
        assert.deepEqual(sync, {
          cwd: "/",
          isSessionLeader: true,
          hasTerminal: false,
          descriptors: ["/dev/null", "/dev/null", "/dev/null"],
        });
        await rig.kill({ pid, ...sync });

        const second = await rig.enter(command);
        assert.deepEqual([second.status, second.stdout], [0, "inside\n"], second.stderr);
        assert.deepEqual(await readdir(join(rig.state, "spool")), []);
        assert.deepEqual(await rig.syncs(), []);

        await writeFile(join(rig.state, "due"), "1\n");
        assert.equal((await rig.enter(command)).status, 0);
        await rig.kill(await rig.nextSync());
      },
    );
  }

  it("leaves a sync that outlives the terminal", async () => {
    const script = ["--quiet", "--command", "nix-shell", "/dev/null"];
    const terminal = spawn("script", script, {
      cwd: rig.project,
      env: { ...rig.nix.env, ...rig.env, TERM: "dumb", SHELL: "/bin/sh" },
      stdio: ["pipe", "ignore", "ignore"],
    });
    terminal.stdin.on("error", () => undefined);
    terminal.stdin.write("echo $$ >pid\n");
    const sync = await rig.nextSync();
    const shell = await numberIn(join(rig.project, "pid"));
    terminal.kill("SIGKILL");
    await ended(shell);
    assert.deepEqual(await rig.syncs(), [sync]);
    await rig.kill(sync);
  });

  it("changes nothing of the user's shell", async () => {
    const look = [
      "trap; set +o; shopt -p; umask; pwd; jobs; alias; declare -F; ls /proc/$$/fd",
      "compgen -v | grep -vxE '_|shellHook|BASH_.*|PIPESTATUS|out|name'",
    ].join("\n");
    const enter = async (...args: readonly string[]): Promise<string> => {
      const result = await rig.enter(["nix-shell", ...args, "--run", look]);
      assert.equal(result.status, 0, result.stderr);
      return result.stdout;
    };
    const plain = await enter("--arg", "selects", "false");
    assert.match(plain, /^set \+o errexit\n/m);
    await rm(rig.state, { recursive: true, force: true });
    assert.equal(await enter(), plain);
    await rig.kill(await rig.nextSync());
    assert.equal(await enter(), plain);
  });

  it("starts nothing where it is told not to", async () => {
    for (const name of ["CI", "HANDPICK_DISABLE"]) {
      await rm(rig.state, { recursive: true, force: true });
      const result = await rig.enter(["nix-shell", "--run", "echo inside"], { [name]: "1" });
      assert.deepEqual([result.status, result.stdout], [0, "inside\n"], result.stderr);
      await assert.rejects(readdir(rig.state), { code: "ENOENT" });
    }
  });
});

/** Waits for a number in a file that a shell writes. */
async function numberIn(file: string): Promise<number> {
  for (;;) {
    const text = await readFile(file, "utf8").catch(() => "");
    if (text.endsWith("\n")) return Number(text);
    await sleep(20);
  }
}

/** Waits for the end of a process that is not our child. */
async function ended(pid: number): Promise<void> {
  const folder = join("/proc", String(pid));
  while ((await readdir(folder).catch(() => [])).length > 0) await sleep(20);
}
