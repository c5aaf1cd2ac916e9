import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { chmod, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, it } from "node:test";

import { assertRefused } from "./bad-input.ts";
import { BUNDLE, freshMachine, handpick, startServe, statusOf } from "./handpick.ts";
import type { Result, ServeRig } from "./handpick.ts";
import { createTestNix } from "./nix.ts";
import type { TestNix } from "./nix.ts";
import { NOBODY } from "./ordinary-user.ts";

describe("a process in bad surroundings", { timeout: 120_000 }, () => {
  let nix: TestNix;
  let serve: ServeRig;
  let path: string;
  before(async () => {
    nix = await createTestNix({ root: true });
    serve = await startServe(nix);
    path = await nix.add("lib", "library");
  });
  after(async () => {
    await serve[Symbol.asyncDispose]();
    await nix[Symbol.asyncDispose]();
  });

  /** Runs a line of shell, in which `handpick` is the program and `$path` a path. */
  async function shell(
    line: string,
    options: { uid?: number; gid?: number } = {},
  ): Promise<Result> {
    // Nothing but the bundle runs here, and users may not write where coverage is noted.
    const program = `unset NODE_V8_COVERAGE; handpick() { exec '${process.execPath}' '${BUNDLE}' "$@"; }`;
    const env = { path, HANDPICK_CONFIG: join(nix.dir, "handpick.toml") };
    return await nix.run("sh", ["-c", `${program}; ${line}`], {
      ...options,
      env,
      allowFailure: true,
    });
  }

  it("tells a full disk behind stdout, by any command", async () => {
    const told = { status: 1, stdout: "", stderr: "handpick: Cannot write to stdout: ENOSPC\n" };
    for (const command of ["--version", "--help", "doctor", "plan $path", "push --json $path"]) {
      assert.deepEqual(await shell(`handpick ${command} > /dev/full`), told, command);
    }
  });

  it("goes on where nobody hears it", async () => {
    for (const [name, streams] of Object.entries({
      stderr: "2> /dev/full",
      closed: "0<&- 1>&- 2>&-",
      pipe: "2>&1 | true",
    })) {
      path = await nix.add(`unheard-${name}`, name);
      const { status, stderr } = await shell(`handpick push $path ${streams}`);
      assert.deepEqual([status, stderr], [0, ""], name);
      assert.equal(await statusOf(serve, path), 200, name);
    }
    const wrong = await shell("handpick push nowhere 2> /dev/full");
    assert.deepEqual([wrong.status, wrong.stdout], [2, ""]);
  });

  it("takes a closed stdin for an empty one", async () => {
    const { status, stderr } = await shell("handpick push --stdin 0<&-");
    assert.deepEqual([status, /stdin: it is empty/.test(stderr)], [2, true], stderr);
  });

  it("needs neither HOME nor a state folder to push", async () => {
    const unset = "unset HOME XDG_CONFIG_HOME XDG_STATE_HOME XDG_CACHE_HOME XDG_DATA_HOME TMPDIR";
    for (const line of [unset, "export HOME=/dev/null TMPDIR=/nowhere XDG_STATE_HOME=/dev/null"]) {
      path = await nix.add("homeless", line);
      const { status, stderr } = await shell(`${line}; handpick push $path`);
      assert.equal(status, 0, stderr);
    }
  });

  it("tells that its folder is gone", async () => {
    const gone = "mkdir gone; cd gone; rmdir ../gone; ";
    for (const command of ["doctor", "push ./result"]) {
      assertRefused(await shell(`${gone} handpick ${command}`), {
        status: 2,
        code: "FILE_UNUSABLE",
        message: /^Cannot use the working directory: it does not exist any more$/,
      });
    }
  });

  it("tells which folder or file it cannot write", async () => {
    await mkdir(join(nix.dir, "taken"));
    await writeFile(join(nix.dir, "taken/file"), "");
    await chmod(join(nix.dir, "taken"), 0o777);
    const serving = "handpick serve --listen 127.0.0.1:0 --dir";
    const cases = [
      [`${serving} /dev/null`, /"\/dev\/null": it is not a folder$/],
      [`${serving} taken`, /it has files in it but is not a served cache$/],
      [`${serving} taken/file/x`, /: a file is in its way$/],
      [`${serving} /proc/hp-none`, /"\/proc\/hp-none": nothing can be made there$/],
      [`${serving} /proc/hp-none/two/deep`, /: nothing can be made there$/],
      ["handpick keygen a-1 --out /proc/hp-none/key", /key: nothing can be made there$/],
      [`${serving} "${nix.dir}/new"`, /: permission denied$/],
      [`handpick keygen a-1 --out "${nix.dir}/new"`, /new: permission denied$/],
      ["handpick keygen a-1 --out taken/file", /file: the file exists$/],
    ] as const;
    const user = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {};
    await chmod(nix.dir, 0o555);
    for (const [line, message] of cases) {
      assertRefused(await shell(line, user), { status: 2, code: "FILE_UNUSABLE", message });
    }
    await chmod(nix.dir, 0o755);
  });
});

describe("a cache whose disk is full", { timeout: 60_000 }, () => {
  it("answers 507, keeps what fits, and is completed once there is room", async (t) => {
    await using nix = await createTestNix({ root: true });
    const small = await startSmallServe(nix);
    if (small === undefined) {
      t.skip("mount namespaces are not allowed here, so there is no disk to fill");
      return;
    }
    await using serve = small;
    const big = await nix.add("big", randomBytes(2 << 20).toString("base64"));
    const fits = await nix.add("fits", "small");
    const env = { T: serve.token };
    const files = async (folder: string): Promise<string[]> =>
      await readdir(join(serve.seen, "cache", folder));
    const full = await handpick(nix, ["push", big, fits], { env });
    assert.equal(full.status, 1, full.stderr);
    assert.match(full.stderr, /✓ fits /);
    const told =
      /✗ big .*UPLOAD_REJECTED: .* received 507: The disk of the cache is full\n {2}Make/;
    assert.match(full.stderr, told);
    const left = [await files("parts"), await files("tmp"), (await files("nar")).length];
    assert.deepEqual(left, [[], [], 1], "what does not fit is not kept");
    await rm(join(serve.seen, "filler"));
    const after = await handpick(nix, ["push", big, fits], { env });
    assert.equal(after.status, 0, after.stderr);
    assert.match(after.stdout, /^1 pushed .* 1 already there/);
    const fresh = freshMachine(nix, serve);
    await nix.run("nix-store", ["--realise", big, fits], { env: fresh.env });
  });
});

interface SmallServe extends AsyncDisposable {
  readonly token: string;
  readonly nixConf: readonly string[];
  /** Its disk, as it is seen from outside of its namespace. */
  readonly seen: string;
}

const DISK = `
  mount -t tmpfs -o size=8m none "$0" || exit 9
  mkdir "$0/cache"
  head -c 6000000 /dev/zero > "$0/filler"
  exec "$@"`;

/** `handpick serve` on a disk of 8 MB with 2 MB to spare, which is gone with the process. */
async function startSmallServe(nix: TestNix): Promise<SmallServe | undefined> {
  const dir = join(nix.dir, "disk");
  await mkdir(dir);
  const namespace = process.getuid?.() === 0 ? "--mount" : "--mount --map-root-user";
  const serve = [process.execPath, BUNDLE, "serve", "--json", "--listen", "127.0.0.1:0"];
  const inNamespace = [...namespace.split(" "), "sh", "-c"];
  const probe = `mount -t tmpfs none "$0"`;
  if (spawnSync("unshare", [...inNamespace, probe, dir]).status !== 0) return undefined;
  const words = [...inNamespace, DISK, dir, ...serve, "--dir", `${dir}/cache`];
  const child = spawn("unshare", words, { env: nix.env, stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(child, "exit");
  const first = once(createInterface({ input: child.stdout }), "line") as Promise<[string]>;
  const line = await Promise.race([first, exited.then(() => undefined)]);
  assert.ok(line !== undefined, "handpick serve ended");
  const { url, nixConf } = JSON.parse(line[0]) as { url: string; nixConf: string[] };
  const seen = `/proc/${child.pid}/root${dir}`;
  const table = `[caches.mine]\nurl = "cachix://local"\nhost = "${url}"\ntoken-env = "T"\n`;
  await writeFile(join(nix.dir, "handpick.toml"), table);
  return {
    seen,
    nixConf,
    token: (await readFile(join(seen, "cache/token"), "utf8")).trim(),
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGTERM");
      await exited;
    },
  };
}
