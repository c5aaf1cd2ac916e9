import assert from "node:assert/strict";
import {
  appendFile,
  chmod,
  chown,
  mkdir,
  readFile,
  readdir,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";

import { createTestNix, type RunResult, type TestNix } from "../nix.ts";
import { NOBODY } from "../ordinary-user.ts";
import { shPackages } from "../sh-packages.ts";
import {
  hookRig,
  needsStrace,
  NO_FULL_DISK,
  onFullDisk,
  POST_BUILD_HOOK,
  runCommand,
} from "./hook-rig.ts";

const SILENT = { status: 0, stdout: "", stderr: "" };
const DRV = "/nix/store/0c9v5ms8ag5fl2ll07lmdlg1ayqpyz6i-greet-1.0.drv";
const OUT = "/nix/store/7k3i624w0rfrvcrbbdrw0zrvasywxmz4-greet-1.0";

describe("the post-build hook", { timeout: 60_000 }, () => {
  it("spools the derivation and its outputs, one a line, in folders of their owner", async () => {
    await using rig = await hookRig();
    const env = { ...rig.env, DRV_PATH: DRV, OUT_PATHS: `${OUT} ${OUT}-doc` };
    assert.deepEqual(await runCommand([POST_BUILD_HOOK], env), SILENT);
    const { spool } = await rig.found();
    assert.match(spool.join(), /^built-0c9v5ms8ag5fl2ll07lmdlg1ayqpyz6i-\d+$/);
    const file = join(rig.state, "spool", spool.join());
    assert.equal(await readFile(file, "utf8"), `${DRV}\n${OUT}\n${OUT}-doc\n`);
    assert.equal((await stat(file)).mode & 0o777, 0o644, "a service user reads what root leaves");
    for (const folder of [rig.state, join(rig.state, "spool")]) {
      assert.equal((await stat(folder)).mode & 0o777, 0o700);
    }
  });

  it("takes what Nix leaves empty, and spools nothing where it names nothing", async () => {
    await using rig = await hookRig();
    await runCommand([POST_BUILD_HOOK], { ...rig.env, DRV_PATH: DRV, OUT_PATHS: "" });
    await runCommand([POST_BUILD_HOOK], { ...rig.env, OUT_PATHS: OUT });
    const { spool } = await rig.found();
    const texts = spool.map((name) => readFile(join(rig.state, "spool", name), "utf8"));
    assert.deepEqual(await Promise.all(texts), [`${DRV}\n`, `\n${OUT}\n`]);
    for (const nothing of [{}, { DRV_PATH: "", OUT_PATHS: " " }, { DRV_PATH: "../.." }]) {
      assert.deepEqual(await runCommand([POST_BUILD_HOOK], { ...rig.env, ...nothing }), SILENT);
    }
    assert.equal((await rig.found()).spool.length, 2);
  });

  it("takes no path for a pattern", async () => {
    await using rig = await hookRig();
    await runCommand([POST_BUILD_HOOK], { ...rig.env, DRV_PATH: DRV, OUT_PATHS: "/* [a-z]*" });
    const [name = ""] = (await rig.found()).spool;
    assert.equal(await readFile(join(rig.state, "spool", name), "utf8"), `${DRV}\n/*\n[a-z]*\n`);
  });

  it("ends well and in silence wherever it cannot write, or has nothing", async () => {
    await using rig = await hookRig();
    await writeFile(join(rig.dir, "file"), "");
    for (const state of ["/proc/nowhere", "/dev/null", `${rig.dir}/file`, "relative"]) {
      const env = { ...rig.env, HANDPICK_STATE_DIR: state, DRV_PATH: DRV, OUT_PATHS: OUT };
      assert.deepEqual(await runCommand([POST_BUILD_HOOK], env), SILENT, state);
    }
    const nothing = { HANDPICK_STATE_DIR: rig.state, DRV_PATH: DRV };
    assert.deepEqual(await runCommand([POST_BUILD_HOOK], nothing), SILENT);
    assert.equal((await rig.found()).spool.length, 1);
  });

  it("writes through no link that the owner of the folder put there", async () => {
    await using rig = await hookRig();
    const others = join(rig.dir, "others");
    await writeFile(others, "theirs");
    const spool = join(rig.state, "spool");
    await mkdir(spool, { recursive: true });
    const hash = "0c9v5ms8ag5fl2ll07lmdlg1ayqpyz6i";
    for (const put of [`ln -s ${others}`, "mkfifo", "ln -s /nowhere/at/all"]) {
      const trap = `${put} "${spool}/.built-${hash}-$$"; exec sh ${POST_BUILD_HOOK}`;
      const env = { ...rig.env, DRV_PATH: DRV, OUT_PATHS: OUT };
      assert.deepEqual(await runCommand(["sh", "-c", trap], env), SILENT, put);
    }
    assert.equal(await readFile(others, "utf8"), "theirs");
    const { spool: events } = await rig.found();
    const texts = events.map((name) => readFile(join(spool, name), "utf8"));
    assert.deepEqual(new Set(await Promise.all(texts)), new Set([`${DRV}\n${OUT}\n`]));
    assert.equal(events.length, 3);
  });

  it("is led nowhere by a link in place of the spool, also in the folder of another", async () => {
    await using rig = await hookRig();
    const victim = join(rig.dir, "victim");
    await mkdir(victim);
    await chmod(rig.dir, 0o755);
    await mkdir(rig.state);
    await symlink(victim, join(rig.state, "spool"));
    const env = { ...rig.env, DRV_PATH: DRV, OUT_PATHS: OUT };
    for (const owner of process.getuid?.() === 0 ? [0, NOBODY] : [undefined]) {
      if (owner !== undefined) await chown(rig.state, owner, owner);
      assert.deepEqual(await runCommand([POST_BUILD_HOOK], env), SILENT);
      assert.deepEqual(await readdir(victim), []);
    }
    await rm(join(rig.state, "spool"));
    assert.deepEqual(await runCommand([POST_BUILD_HOOK], env), SILENT);
    assert.equal((await rig.found()).spool.length, 1);
  });

  it("leaves no cut event on a full disk", async (t) => {
    await using rig = await hookRig();
    const spool = join(rig.state, "spool");
    await mkdir(spool, { recursive: true });
    for (const lacks of ["bytes", "files"] as const) {
      const script = `${POST_BUILD_HOOK}; echo $?; ls -A ${spool}`;
      const env = { ...rig.env, DRV_PATH: DRV, OUT_PATHS: OUT };
      const result = await onFullDisk({ dir: spool, lacks }, script, env);
      if (result === undefined) return t.skip(NO_FULL_DISK);
      assert.deepEqual(result, { ...SILENT, stdout: "0\nfiller\n" }, lacks);
    }
  });

  it("loses no event where 50 builds end at once", async () => {
    await using rig = await hookRig();
    const runs = Array.from({ length: 50 }, (_, index) =>
      runCommand([POST_BUILD_HOOK], { ...rig.env, DRV_PATH: DRV, OUT_PATHS: `${OUT}-${index}` }),
    );
    for (const result of await Promise.all(runs)) assert.deepEqual(result, SILENT);
    assert.equal((await rig.found()).spool.length, 50);
  });

  it("starts one process, strace says", { skip: needsStrace }, async () => {
    await using rig = await hookRig();
    await mkdir(join(rig.state, "spool"), { recursive: true });
    const log = join(rig.dir, "strace");
    const traced = ["strace", "-f", "-qq", "-o", log, "-e", "trace=execve", POST_BUILD_HOOK];
    await runCommand(traced, { ...rig.env, DRV_PATH: DRV, OUT_PATHS: OUT });
    const started = (await readFile(log, "utf8"))
      .split("\n")
      .filter((line) => line.endsWith(" = 0"));
    assert.equal(started.length, 2, started.join("\n"));
    assert.match(started[1] ?? "", /mv"/);
  });
});

/** Two packages that build, one of two outputs, and one that does not. */
const PACKAGES = shPackages(`{
  good = sh "good" { outputs = [ "out" "doc" ]; } "echo good > $out; echo doc > $doc";
  bad = sh "bad" { } "echo oops >&2; exit 7";
  other = sh "other" { } "echo other > $out";
}`);

describe("a build with the post-build hook", { timeout: 60_000 }, () => {
  const keepGoing = ["-j1", "--keep-going"];

  it("tells of each build that succeeds, and ends as it would without", async (t) => {
    await using plain = await createTestNix();
    await using hooked = await createTestNix();
    const state = join(hooked.dir, "state");
    const results = [
      await build(plain, keepGoing, {}),
      await build(hooked, [...keepGoing, "--option", "post-build-hook", POST_BUILD_HOOK], {
        HANDPICK_STATE_DIR: state,
      }),
    ] as const;
    assert.equal(results[1].status, results[0].status);
    assert.notEqual(results[0].status, 0);
    assert.equal(neutral(hooked, results[1].stdout), neutral(plain, results[0].stdout));
    const events = await eventsIn(state);
    assert.deepEqual(
      events.map(([derivation = ""]) => packageOf(derivation)),
      ["good.drv", "other.drv"],
    );
    tellOutputs(t, events);

    const again = await build(
      hooked,
      [...keepGoing, "--option", "post-build-hook", POST_BUILD_HOOK],
      {
        HANDPICK_STATE_DIR: "/proc/nowhere",
      },
    );
    assert.equal(again.status, results[0].status);
  });

  it("gives what it would give without, also offline and by a daemon", async (t) => {
    await using plain = await createTestNix();
    await using hooked = await createTestNix();
    const state = join(hooked.dir, "state");
    const hook = join(hooked.dir, "hook");
    const text = `#!/bin/sh\nHANDPICK_STATE_DIR=${state} exec ${POST_BUILD_HOOK}\n`;
    await writeFile(hook, text, { mode: 0o755 });
    await appendFile(join(hooked.dir, "etc/nix.conf"), `post-build-hook = ${hook}\n`);
    await plain.startDaemon();
    await hooked.startDaemon();
    const offline = await offlinePrefix(plain);
    if (offline === undefined) t.diagnostic("network namespaces are not allowed here");
    const builds = [["-A", "bad"], ["-A", "good"], [], ["-A", "other"], ["--check", "-A", "other"]];
    for (const args of builds) {
      for (const remote of [{ NIX_REMOTE: "daemon" }, { NIX_REMOTE: "local" }]) {
        const command = [...(offline ?? []), "nix-build", "packages.nix", "--no-out-link", ...args];
        const results = [plain, hooked].map(async (nix) => {
          await writeFile(join(nix.dir, "packages.nix"), PACKAGES);
          const [program = "", ...words] = command;
          const env = { ...remote, NIX_DAEMON_SOCKET_PATH: `${nix.stateDir}/daemon-socket/socket` };
          const { status, stdout } = await nix.run(program, words, { env, allowFailure: true });
          const paths = stdout.split("\n").filter((line) => line !== "");
          const contents = paths.map((path) => readFile(path, "utf8"));
          return { status, names: paths.map(packageOf), contents: await Promise.all(contents) };
        });
        const [without, withHook] = await Promise.all(results);
        assert.deepEqual(withHook, without, `${args.join(" ")} ${remote.NIX_REMOTE}`);
      }
    }
    const told = (await eventsIn(state)).map(([derivation = ""]) => packageOf(derivation));
    assert.deepEqual(new Set(told), new Set(["good.drv", "other.drv"]));
  });
});

/** Returns the words before a command that run it without a network; undefined where that is not allowed. */
async function offlinePrefix(nix: TestNix): Promise<readonly string[] | undefined> {
  const user = process.getuid?.() === 0 ? [] : ["--map-current-user"];
  const prefix = ["unshare", ...user, "--net"];
  const { status } = await nix.run("unshare", [...prefix.slice(1), "true"], { allowFailure: true });
  return status === 0 ? prefix : undefined;
}

async function build(
  nix: TestNix,
  options: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<RunResult> {
  const file = join(nix.dir, "packages.nix");
  await writeFile(file, PACKAGES);
  return nix.run("nix-build", [file, "--no-out-link", ...options], { env, allowFailure: true });
}

function neutral(nix: TestNix, text: string): string {
  return text.replaceAll(nix.storeDir, "").replaceAll(/\/[a-z0-9]{32}-/g, "/");
}

/** The lines of each event, by the name of the derivation. */
async function eventsIn(state: string): Promise<string[][]> {
  const spool = join(state, "spool");
  const names = await readdir(spool);
  const texts = await Promise.all(names.map((name) => readFile(join(spool, name), "utf8")));
  const events = texts.map((text) => text.trimEnd().split("\n"));
  return events.toSorted(([a = ""], [b = ""]) => packageOf(a).localeCompare(packageOf(b)));
}

function packageOf(path: string): string {
  return path.replace(/^.*\/[a-z0-9]{32}-/, "");
}

/** Old versions of Nix name no outputs to the hook. */
function tellOutputs(t: TestContext, events: readonly (readonly string[])[]): void {
  const counts = events.map((lines) => lines.length - 1);
  if (counts.every((count) => count === 0)) t.diagnostic("this Nix names no outputs to the hook");
  else assert.deepEqual(counts, [2, 1]);
}
