import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { access, chmod, mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { BUNDLE, startServe } from "./handpick.ts";
import type { ServeRig } from "./handpick.ts";
import { codeBlocks, readProject, ROOT, sections } from "./markdown.ts";
import { createTestNix } from "./nix.ts";
import type { TestNix } from "./nix.ts";
import { tempDir } from "./temp.ts";

const readme = await readProject("README.md");
const { scripts } = JSON.parse(await readProject("package.json")) as {
  scripts: Record<string, string>;
};

/** The commands that enter the shell which README declares. */
const SELECT = codeBlocks(readme, "sh").find((block) => block.startsWith("nix-shell "));

before(async () => {
  const there = await access(BUNDLE).then(
    () => true,
    () => false,
  );
  assert.ok(there, `${BUNDLE} is missing: run npm run build, or the tests by npm test`);
});

describe("README.md", () => {
  it("is under 150 lines and begins without badges", () => {
    assert.ok(readme.split("\n").length < 150);
    assert.match(readme, /^# handpick\n\n[^![<]/);
  });

  it("names only npm tasks that there are", () => {
    const named = readme.matchAll(/(?<=^|`)npm (?:run )?(\w+)/gm);
    const tasks = Array.from(named, ([, task = ""]) => task);
    assert.ok(tasks.length >= 1);
    for (const task of tasks) assert.ok(task in scripts, `There is no npm task ${task}`);
  });
});

describe("the commands of README.md", () => {
  let user: Reader;
  before(async () => {
    user = await becomeReader();
  });
  after(() => user[Symbol.asyncDispose]());

  // test/install.test.ts runs those that install, and a test below enters the shell.
  const install = codeBlocks(sections(readme, 2).get("Install") ?? "", "sh");
  for (const block of codeBlocks(readme, "sh")) {
    if (install.includes(block) || block === SELECT) continue;
    const commands = block.split("\n").filter((line) => !/^npm (?:run )?\w+$/.test(line));
    const [first] = commands;
    if (first === undefined || first === "") continue; // npm tasks only
    it(`work from top to bottom: ${first}`, async () => {
      const { status, stderr } = await user.nix.run("sh", ["-eu", "-c", commands.join("\n")], {
        cwd: user.cwd,
        env: user.env,
        allowFailure: true,
      });
      assert.equal(status, 0, stderr);
    });
  }

  it("have pushed ./result", async () => {
    const name = user.path.slice("/nix/store/".length, "/nix/store/".length + 32);
    const response = await fetch(`${user.cache.url}/${name}.narinfo`);
    assert.equal(response.status, 200);
    assert.match(await response.text(), new RegExp(`^StorePath: ${user.path}$`, "m"));
  });
});

const skip =
  process.env["HANDPICK_TEST_MATRIX"] !== undefined &&
  "it builds in the store of this machine, which is no place for another Nix";

describe("the shell of README.md", { skip }, () => {
  it("has what it selects kept in the cache, and status tells so", async () => {
    await using user = await becomeReader();
    const [shell = ""] = codeBlocks(readme, "nix").filter((text) => text.includes("shellHook"));
    await writeFile(join(user.cwd, "shell.nix"), shell);
    const config = join(user.nix.dir, "home/.config/handpick");
    await mkdir(config, { recursive: true });
    await writeFile(join(config, "config.toml"), '[caches.mycache]\nurl = "cachix://mycache"\n');
    const state = join(user.nix.dir, "state");
    const { stdout: bash } = await user.nix.run("sh", ["-c", "command -v bash"]);
    const env = {
      ...user.env,
      NIX_REMOTE: "auto", // a shell needs builds, which the store of the reader cannot do
      NIX_PATH: `nixpkgs=${join(ROOT, "test/toy-pkgs.nix")}:handpick=${ROOT}`,
      NIX_BUILD_SHELL: bash.trim(),
      HANDPICK_STATE_DIR: state,
    };
    const { stdout } = await user.nix.run("sh", ["-euc", SELECT ?? "exit 9"], {
      cwd: user.cwd,
      env,
    });
    assert.match(stdout, /^everything is where it should be: 1 in mycache$/m);
    assert.match(stdout, /^next sync: the hook of a shell or a switch starts one /m);
    assert.match(stdout, /^to do: nothing$/m);
    await untilNobodyUses(state);
  });
});

describe("npm run try", { skip }, () => {
  for (const time of ["once", "twice"]) {
    it(`goes the whole way and leaves nothing behind, ${time}`, async () => {
      await using temp = await tempDir();
      const child = spawn(process.execPath, [join(ROOT, "scripts", "try.ts")], {
        env: { ...process.env, TMPDIR: temp.dir },
        // A process group of its own shows whether one of its children lives on.
        detached: true,
        stdio: ["ignore", "pipe", "pipe"],
      });
      const [stdout, stderr, [status]] = await Promise.all([
        text(child.stdout),
        text(child.stderr),
        once(child, "close") as Promise<[number | null]>,
      ]);
      assert.equal(status, 0, `${stdout}\n${stderr}`);
      assertTranscript(stdout);
      assert.deepEqual(await readdir(temp.dir), []);
      await assertGroupEnded(child.pid ?? 0);
    });
  }
});

/** Checks that the transcript has every line that the README shows, but for times and cut hashes. */
function assertTranscript(stdout: string): void {
  const [shown = ""] = codeBlocks(readme, "text");
  const printed = new Set(stdout.split("\n").map(withoutChance));
  const lines = shown.split("\n").filter((line) => line !== "");
  assert.ok(lines.length > 10);
  for (const line of lines) assert.ok(printed.has(withoutChance(line)), `${line}\n${stdout}`);
  assert.ok(printed.has("Hello from a machine that built nothing."));
  assert.ok(printed.has("404 Not Found"));
}

function withoutChance(line: string): string {
  return line.replaceAll(/ +\d+\.\d s/g, " TIME").replaceAll(/\w{8}…|\b\w{32}(?=-)/g, "HASH");
}

/** The sync that the hook starts is nobody's child; it ends by itself. */
async function untilNobodyUses(state: string): Promise<void> {
  const deadline = Date.now() + 10_000;
  const uses = async (pid: string): Promise<boolean> => {
    const environment = await readFile(join("/proc", pid, "environ"), "utf8").catch(() => "");
    return environment.split("\0").includes(`HANDPICK_STATE_DIR=${state}`);
  };
  for (;;) {
    const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
    if (!(await Promise.all(pids.map(uses))).includes(true)) return;
    assert.ok(Date.now() < deadline, "The sync that the hook started is still there");
    await sleep(20);
  }
}

/** A killed child may take a moment to be gone. */
async function assertGroupEnded(leader: number): Promise<void> {
  const deadline = Date.now() + 5_000;
  while (isAlive(-leader)) {
    assert.ok(Date.now() < deadline, `Processes of group ${leader} are still there`);
    await sleep(20);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Somebody with a checkout, a build, a token and a cachix.dhall who follows the README. */
interface Reader extends AsyncDisposable {
  readonly nix: TestNix;
  readonly cache: ServeRig;
  readonly path: string;
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
}

async function becomeReader(): Promise<Reader> {
  await using stack = new AsyncDisposableStack();
  const nix = stack.use(await createTestNix({ root: true }));
  const cache = stack.use(await startServe(nix, { name: "mycache" }));
  const path = await nix.add("hello-1.0", "Hello.\n");
  const cwd = join(nix.dir, "checkout");
  const bin = join(nix.dir, "bin");
  const cachix = join(nix.dir, "home", ".config", "cachix");
  for (const dir of [cwd, bin, cachix]) await mkdir(dir, { recursive: true });
  for (const name of ["dist", "node_modules"]) await symlink(join(ROOT, name), join(cwd, name));
  await symlink(path, join(cwd, "result"));
  await writeFile(
    join(bin, "handpick"),
    `#!/bin/sh\nexec '${process.execPath}' '${BUNDLE}' "$@"\n`,
  );
  await chmod(join(bin, "handpick"), 0o755);
  await writeFile(join(cachix, "cachix.dhall"), `{ hostname = "${cache.url}" }\n`, { mode: 0o600 });
  // The README's own link is found first, once it is there.
  const folders = [join(nix.dir, "home/.local/bin"), bin, dirname(process.execPath)];
  const PATH = [...folders, nix.env["PATH"] ?? ""].join(delimiter);
  const kept = stack.move();
  return {
    nix,
    cache,
    path,
    cwd,
    env: { PATH, CACHIX_AUTH_TOKEN: cache.token },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}
