import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, readlink, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";

import { needsStrace, runCommand, SHELLS } from "./hook-rig.ts";
import { startRig } from "./start-rig.ts";

const SILENT = { status: 0, stdout: "", stderr: "" };
const inSeconds = (seconds: number): string => `${Math.floor(Date.now() / 1000) + seconds}`;

for (const { shell, skip } of SHELLS) {
  const isBash = shell[0] === "bash";

  describe(`the start of a sync in ${shell.join(" ")}`, { timeout: 60_000, skip }, () => {
    it("follows a change, once for many at once, and holds nothing of the caller's", async () => {
      await using rig = await startRig();
      const manifest = await rig.manifest("m");
      const env = {
        ...rig.env,
        TMPDIR: "/t",
        NIX_BUILD_TOP: "/t",
        SSL_CERT_FILE: CERTIFICATES,
        HANDPICK_CONFIG: "/project/handpick.toml",
      };
      const runs = Array.from({ length: 20 }, async (_, index) => {
        // Bash closes what it is told to; others know no number above 9.
        const most = isBash ? 12 : 9;
        const pipes = Array.from({ length: most + 1 }, () => "pipe" as const);
        const [program, ...args] = [...shell, rig.selecting(`me-${index}`, manifest)];
        const child = spawn(program, args, { env, stdio: pipes });
        // Not before nobody has the other end of a pipe.
        return await once(child, "close");
      });
      for (const ended of await Promise.all(runs)) assert.deepEqual(ended, [0, null]);
      const [start, ...others] = await rig.starts(1);
      assert.equal(start?.args, "sync --detach");
      assert.deepEqual(others, []);
      assert.deepEqual(start.descriptors, ["/dev/null", "/dev/null", "/dev/null"]);
      for (const name of ["TMPDIR", "NIX_BUILD_TOP", "SSL_CERT_FILE", "HANDPICK_CONFIG"]) {
        assert.ok(!start.variables.includes(name), name);
      }
      assert.equal((await rig.found()).spool.length, 21);
    });

    it("takes the configuration that the hook was built with", async () => {
      await using rig = await startRig();
      const config = "/home/a b/it's $(x).toml";
      const word = `'${config.replaceAll("'", "'\\''")}'`;
      const script = rig.selecting("me", await rig.manifest("m")).replace(" || :", ` ${word} || :`);
      assert.deepEqual(await runCommand([...shell, script], rig.env), SILENT);
      const [start] = await rig.starts(1);
      assert.equal(start?.args, `sync --detach --config=${config}`);
    });

    it("follows word that nobody took, and what is due, but nothing else", async () => {
      await using rig = await startRig();
      const manifest = await rig.manifest("m");
      const script = [...shell, rig.selecting("me", manifest)];
      const isStarting = async (env: Readonly<Record<string, string>> = {}): Promise<boolean> => {
        assert.deepEqual(await runCommand(script, { ...rig.env, ...env }), SILENT);
        return rig.hasClaimed();
      };
      assert.ok(await isStarting(), "a change");
      const claim = join(rig.state, "spool/starting");
      const before = await readlink(claim);
      assert.ok(await isStarting());
      assert.equal(await readlink(claim), before, "started a moment ago");
      for (const old of [inSeconds(-61), inSeconds(3600), "x", "9".repeat(30)]) {
        await rm(claim);
        await symlink(old, claim);
        await isStarting();
        assert.match(await readlink(claim), /^\d{10}$/, old);
        assert.notEqual(await readlink(claim), old);
      }
      await rig.emptySpool();
      assert.ok(!(await isStarting()), "the word was taken");
      for (const [due, isDue] of [
        [inSeconds(100), false],
        [inSeconds(-1), true],
        [inSeconds(200_000), true],
        ["", true],
        ["a b\n", true],
        ["9".repeat(5000), true],
        ["-5\n", true],
        ["010", true],
      ] as const) {
        await writeFile(join(rig.state, "due"), due);
        assert.ok(!(await isStarting({ DRY_RUN: "1" })), "a dry run");
        assert.equal(await isStarting(), isDue, due);
        await rig.emptySpool();
      }
      assert.deepEqual((await rig.found()).wanted, { me: manifest });
    });

    it("does not wait for a pipe in place of the file, and takes a folder for none", async () => {
      await using rig = await startRig();
      const manifest = await rig.manifest("m");
      const script = [...shell, rig.selecting("me", manifest)];
      await runCommand(script, rig.env);
      await rig.emptySpool();
      await runCommand(["mkfifo", join(rig.state, "due")], rig.env);
      assert.deepEqual(await runCommand(script, rig.env), SILENT);
      await runCommand(["rm", join(rig.state, "due")], rig.env);
      await mkdir(join(rig.state, "due"));
      assert.deepEqual(await runCommand(script, rig.env), SILENT);
      assert.ok(!(await rig.hasClaimed()));
    });

    it("needs no process to see that nothing is due", { skip: needsStrace }, async () => {
      await using rig = await startRig();
      const manifest = await rig.manifest("m");
      await runCommand([...shell, rig.selecting("me", manifest)], rig.env);
      await rig.emptySpool();
      // Only bash knows the time by itself. It is what runs the hooks of shells.
      if (isBash) await writeFile(join(rig.state, "due"), inSeconds(100));
      const log = join(rig.dir, "strace");
      const traced = ["strace", "-f", "-qq", "-o", log, "-e", "trace=process", ...shell];
      await runCommand([...traced, `${rig.selecting("me", manifest)}; :`], rig.env);
      const calls = (await readFile(log, "utf8")).split("\n");
      const made = calls.filter((line) => /exec|fork|clone/.test(line));
      assert.equal(made.length, 1, made.join("\n"));
    });

    it("is left to a service manager that runs and was told of the spool", async () => {
      await using rig = await startRig();
      const manifests = await Promise.all(["a", "b"].map((name) => rig.manifest(name)));
      let turn = 0;
      const isStarting = async (env: Readonly<Record<string, string>> = {}): Promise<boolean> => {
        const script = [...shell, rig.selecting("me", manifests[++turn % 2] ?? "")];
        assert.deepEqual(await runCommand(script, { ...rig.env, ...env }), SILENT);
        assert.ok((await rig.found()).spool.includes("wanted-me"));
        const has = await rig.hasClaimed();
        await rig.emptySpool();
        return has;
      };
      const config = join(rig.dir, "config");
      const env = { XDG_CONFIG_HOME: config, XDG_RUNTIME_DIR: join(rig.dir, "run") };
      const unit = "systemd/user/handpick.path";
      const text = (spool: string): string =>
        `[Path]\nDirectoryNotEmpty=${spool}\nMakeDirectory=true`;
      await put(join(config, unit), text(join(rig.state, "spool")));
      assert.ok(await isStarting(env), "no manager runs");
      await using _manager = await listen(join(rig.dir, "run/systemd/private"));
      assert.ok(!(await isStarting(env)));
      await writeFile(join(rig.state, "due"), "1\n");
      assert.ok(!(await isStarting(env)), "nor where something is due");
      await put(join(config, unit), text("%S/handpick/spool"));
      assert.ok(!(await isStarting(env)));
      await put(join(config, unit), text("/home/other/spool"));
      assert.ok(await isStarting(env), "the spool of another");
      assert.ok(await isStarting({ ...env, XDG_CONFIG_HOME: "" }));
      await put(join(rig.dir, ".config", unit), text(join(rig.state, "spool")));
      assert.ok(!(await isStarting({ ...env, XDG_CONFIG_HOME: "" })));
      const list = join(rig.dir, "Library/LaunchAgents/org.example.handpick.plist");
      await put(list, `<array>\n<string>${rig.state}/spool</string>\n</array>`);
      assert.ok(!(await isStarting()), "launchd");
    });

    it("does not happen without the program, or where it cannot be remembered", async () => {
      await using rig = await startRig();
      const [first, second] = [await rig.manifest("first"), await rig.manifest("second")];
      const absent = rig.selecting("me", first).replace(rig.program, "no-such-program");
      assert.deepEqual(await runCommand([...shell, absent], rig.env), SILENT);
      assert.deepEqual(await rig.found(), { wanted: { me: first }, spool: ["wanted-me"] });
      await rig.emptySpool();
      await mkdir(join(rig.state, "spool/starting"));
      const blocked = [...shell, rig.selecting("me", second)];
      assert.deepEqual(await runCommand(blocked, rig.env), SILENT);
      assert.deepEqual((await rig.found()).wanted, { me: second });
    });
  });
}

describe("the selection hook in bash", { timeout: 60_000 }, () => {
  it("costs 2 ms where nothing changed, and 15 ms where it starts a sync", async () => {
    await using rig = await startRig();
    const manifests = [await rig.manifest("first"), await rig.manifest("second")];
    const hooks = manifests.map((manifest) => rig.selecting("me", manifest));
    const env = { ...rig.env };
    const run = (script: string): number => {
      const start = performance.now();
      const { status } = spawnSync("bash", ["--norc", "-c", script], { env, stdio: "ignore" });
      assert.equal(status, 0);
      return performance.now() - start;
    };
    await writeFile(join(rig.dir, "released"), "");
    const empty: number[] = [];
    const unchanged: number[] = [];
    const changed: number[] = [];
    for (let round = 0; round < 40; round += 1) {
      empty.push(run(":"));
      changed.push(run(hooks[round % 2] ?? ""));
      await rig.emptySpool();
      await writeFile(join(rig.state, "due"), inSeconds(100));
      unchanged.push(run(hooks[round % 2] ?? ""));
    }
    // The quickest of many: others use this machine as well.
    assertBelow(Math.min(...unchanged) - Math.min(...empty), 2);
    assertBelow(Math.min(...changed) - Math.min(...empty), 15);
  });
});

function assertBelow(valueMs: number, limitMs: number): void {
  assert.ok(valueMs <= limitMs, `${valueMs} ms`);
}

/** The certificate file that Nix's setup names where there is to be no network. */
const CERTIFICATES = "/no-cert-file.crt";

async function put(file: string, text: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, text);
}

/** Something that listens where a service manager would. */
async function listen(socket: string): Promise<AsyncDisposable> {
  await mkdir(dirname(socket), { recursive: true });
  const server = createServer().listen(socket);
  await once(server, "listening");
  return server;
}
