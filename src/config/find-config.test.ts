import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { configCandidates, loadConfig } from "./find-config.ts";

describe("configCandidates()", () => {
  const paths = (env: NodeJS.ProcessEnv, uid = 1000, file?: string): string[] =>
    configCandidates({ file, env, cwd: "/w", uid }).map(({ path }) => path);

  it("prefers --config to HANDPICK_CONFIG to everything else", () => {
    const env = { HANDPICK_CONFIG: "sub/env.toml", HOME: "/home/u" };
    assert.deepEqual(paths(env, 1000, "/etc/c.toml"), ["/etc/c.toml"]);
    assert.deepEqual(paths(env), ["/w/sub/env.toml"]);
  });

  it("looks into the project, then the user's folder, then for root into /etc", () => {
    const env = { HANDPICK_CONFIG: "", HOME: "/home/u" };
    const user = ["/w/handpick.toml", "/home/u/.config/handpick/config.toml"];
    assert.deepEqual(paths(env), user);
    assert.deepEqual(paths(env, 0), [...user, "/etc/handpick/config.toml"]);
  });

  it("obeys an absolute XDG_CONFIG_HOME and finds home without HOME", () => {
    assert.equal(paths({ XDG_CONFIG_HOME: "/x" })[1], "/x/handpick/config.toml");
    assert.equal(paths({ XDG_CONFIG_HOME: "x", HOME: "/h" })[1], "/h/.config/handpick/config.toml");
    assert.equal(paths({})[1], join(homedir(), ".config/handpick/config.toml"));
  });
});

describe("loadConfig()", () => {
  let dir = "";
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), "handpick-config-"));
  });
  afterEach(() => rm(dir, { recursive: true }));
  const load = (file?: string): ReturnType<typeof loadConfig> =>
    loadConfig({ file, env: { XDG_CONFIG_HOME: join(dir, "xdg") }, cwd: dir, uid: 1000 });

  it("is empty where there is no file", async () => {
    assert.deepEqual(await load(), {
      file: undefined,
      caches: [],
      rules: { exclude: [], maxNarSize: undefined, onHole: "hold" },
      builds: { include: [], caches: [], manifests: false },
    });
  });

  it("reads the user's file, and the project's rather than that", async () => {
    await mkdir(join(dir, "xdg/handpick"), { recursive: true });
    await writeFile(join(dir, "xdg/handpick/config.toml"), 'caches.user.url = "cachix://u"');
    assert.equal((await load()).caches[0]?.name, "user");
    await writeFile(join(dir, "handpick.toml"), 'caches.project.url = "cachix://p"');
    const config = await load();
    assert.equal(config.caches[0]?.name, "project");
    assert.equal(config.file, join(dir, "handpick.toml"));
  });

  it("uses a project's host elsewhere only if the file is named", async () => {
    const file = join(dir, "handpick.toml");
    const hosts = (host: string): Promise<void> =>
      writeFile(file, `[caches.c]\nurl = "cachix://c"\nhost = ${JSON.stringify(host)}\n`);
    const harmless = ["https://cachix.org", "https://app.cachix.org", "http://127.0.0.1:8080"];
    for (const host of [...harmless, "http://[::1]:1", "http://localhost"]) {
      await hosts(host);
      assert.equal((await load()).caches[0]?.host, host);
    }
    const elsewhere = ["https://cachix.org.evil.example", "http://cachix.org", "http://10.0.0.1"];
    for (const host of [...elsewhere, "https://127.0.0.1.example", "https://evilcachix.org"]) {
      await hosts(host);
      await assert.rejects(load(), { code: "CONFIG_INVALID", hint: /--config handpick\.toml/ });
      assert.equal((await load(file)).caches[0]?.host, host);
    }
  });

  it("asks a project's upstreams elsewhere only if the file is named", async () => {
    const file = join(dir, "handpick.toml");
    const upstreams = (...urls: readonly string[]): Promise<void> =>
      writeFile(file, `[caches.c]\nurl = "cachix://c"\nupstreams = ${JSON.stringify(urls)}\n`);
    const harmless = ["https://cache.nixos.org", "https://other.cachix.org", "http://127.0.0.1:1"];
    await upstreams(...harmless);
    assert.deepEqual((await load()).caches[0]?.upstreams, harmless);
    await upstreams(...harmless, "https://cache.nixos.org.evil.example");
    await assert.rejects(load(), { code: "CONFIG_INVALID", message: /evil\.example/ });
    assert.equal((await load(file)).caches[0]?.upstreams?.length, 4);
  });

  it("refuses a named file that is missing, a folder, too large or not text", async () => {
    await writeFile(join(dir, "large"), "#".repeat(256 * 1024 + 1));
    await writeFile(join(dir, "binary"), Uint8Array.of(0xff, 0xfe));
    const cases = [
      ["absent", "it does not exist"],
      [".", "it is a folder"],
      ["large", "it is larger than 262144 bytes"],
      ["binary", "it is not UTF-8 text"],
    ] as const;
    for (const [file, reason] of cases) {
      await assert.rejects(load(file), {
        code: "CONFIG_UNREADABLE",
        message: `Cannot read configuration ${join(dir, file)}: ${reason}`,
      });
    }
  });

  it("waits for no pipe that it found, and for a named one within bounds", async () => {
    const file = join(dir, "handpick.toml");
    execFileSync("mkfifo", [file]);
    const message = `Cannot read configuration ${file}: it is a pipe`;
    await assert.rejects(load(), { code: "CONFIG_UNREADABLE", message });
    const writing = writeFile(file, "[rules]\n");
    assert.equal((await load(file)).file, file);
    await writing;
  });

  it("does not pass over a file that is there but cannot be read", async () => {
    await mkdir(join(dir, "handpick.toml"));
    await assert.rejects(load(), { code: "CONFIG_UNREADABLE" });
  });
});
