import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { access, chmod, mkdir, readdir, symlink, writeFile } from "node:fs/promises";
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

  // test/install.test.ts runs those that install.
  const install = codeBlocks(sections(readme, 2).get("Install") ?? "", "sh");
  for (const block of codeBlocks(readme, "sh")) {
    if (install.includes(block)) continue;
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

/** What the README shows of the transcript has to be in it, but for times and cut hashes. */
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
