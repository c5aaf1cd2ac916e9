import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  chmod,
  chown,
  link,
  mkdir,
  mkdtemp,
  realpath,
  rm,
  symlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir, userInfo } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { asOrdinaryUser, NOBODY } from "../../test/ordinary-user.ts";
import { fileUrl } from "../cache/file/file-url.ts";
import type { HandpickError } from "../error.ts";
import type { Config } from "./config.ts";
import { assertConfigFile, loadConfig, type LoadConfigOptions, ownFiles } from "./find-config.ts";

const uid = process.getuid?.() ?? 0;
const needsRoot = uid !== 0 && "only root can give files to others";

describe("ownFiles()", () => {
  it("are the user's, and for root the system's after it", () => {
    const user = "/home/u/.config/handpick/config.toml";
    assert.deepEqual(ownFiles({ env: { HOME: "/home/u" }, uid: 1000 }), [user]);
    const root = ownFiles({ env: { HOME: "/home/u" }, uid: 0 });
    assert.deepEqual(root, [user, "/etc/handpick/config.toml"]);
  });

  it("obeys an absolute XDG_CONFIG_HOME and finds home without HOME", () => {
    const [path, relative, none] = [
      { XDG_CONFIG_HOME: "/x" },
      { XDG_CONFIG_HOME: "x", HOME: "/h" },
      {},
    ].map((env) => ownFiles({ env, uid: 1000 })[0]);
    assert.equal(path, "/x/handpick/config.toml");
    assert.equal(relative, "/h/.config/handpick/config.toml");
    assert.equal(none, join(userInfo().homedir, ".config/handpick/config.toml"));
  });
});

describe("loadConfig()", () => {
  let dir = "";
  let notes: string[] = [];
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), "handpick-config-"));
    notes = [];
  });
  afterEach(() => rm(dir, { recursive: true }));
  const load = (options: Partial<LoadConfigOptions> = {}): Promise<Config> =>
    loadConfig({
      env: { XDG_CONFIG_HOME: join(dir, "xdg") },
      cwd: dir,
      uid,
      serves: "arguments",
      note: (text) => notes.push(text),
      ...options,
    });
  const put = async (file: string, text: string): Promise<string> => {
    const path = join(dir, file);
    await mkdir(join(path, ".."), { recursive: true });
    await writeFile(path, text);
    return path;
  };
  const putUsers = (text: string): Promise<string> => put("xdg/handpick/config.toml", text);
  const putProject = (text: string): Promise<string> => put("handpick.toml", text);

  it("is empty where there is no file, and says where it looked", async () => {
    const { file, caches, isFound, search } = await load();
    assert.deepEqual([file, caches, isFound], [undefined, [], false]);
    const looked = [join(dir, "handpick.toml"), join(dir, "xdg/handpick/config.toml")];
    assert.deepEqual(search?.looked.slice(0, 2), looked);
  });

  it("prefers --config to HANDPICK_CONFIG to everything else, and believes both", async () => {
    await putProject('caches.project.url = "cachix://p"');
    const first = await put("one.toml", 'caches.one.url = "cachix://1"');
    await put("two.toml", 'caches.two.url = "cachix://2"');
    const env = { HANDPICK_CONFIG: "two.toml", XDG_CONFIG_HOME: join(dir, "xdg") };
    for (const serves of ["arguments", "wanted"] as const) {
      const one = await load({ env, serves, file: first });
      const two = await load({ env, serves });
      assert.deepEqual(
        [one, two].map(({ caches }) => caches[0]?.name),
        ["one", "two"],
      );
      assert.deepEqual(
        [one, two].map(({ isFound }) => isFound),
        [false, false],
      );
    }
    assert.deepEqual(notes, []);
  });

  it("takes the project's file before the user's for arguments, and says so", async () => {
    await putUsers('caches.user.url = "cachix://u"');
    assert.equal((await load()).caches[0]?.name, "user");
    const file = await putProject('[caches.project]\nurl = "cachix://p"\nhost = "http://h"');
    const config = await load();
    assert.deepEqual([config.file, config.isFound], [file, true]);
    assert.equal(config.caches[0]?.foundFile, file);
    const note = `using ${file}, found in this folder: project, cachix://p at http://h`;
    assert.deepEqual(notes, [note]);
    // However the cache is named that the paths then go to.
    for (const to of ["project", "cachix://p", "cachix://p/"]) await load({ to: [to] });
    assert.deepEqual(notes, [note, note, note, note]);
  });

  it("passes over the project's file for what is wanted, with one note", async () => {
    const file = await putProject("this is not even TOML");
    assert.equal((await load({ serves: "wanted" })).file, undefined);
    const user = await putUsers('caches.user.url = "cachix://u"');
    const config = await load({ serves: "wanted" });
    assert.deepEqual([config.file, config.search?.skipped], [user, file]);
    assert.equal(notes.length, 2);
    assert.ok(notes[1]?.startsWith(`${file} was found in this folder and not named, so nothing `));
    assert.ok(notes[1]?.includes(`--config ${file}`));
  });

  it("takes a project's file as named where the user's file trusts its folder", async () => {
    const project = join(dir, "p q");
    const text = '[caches.p]\nurl = "cachix://p"\nhost = "http://h"\ntoken-env = "T"';
    const file = await put("p q/handpick.toml", text);
    await assert.rejects(load({ cwd: project }), {
      code: "CONFIG_UNTRUSTED",
      hint: `If you trust it, name it: --config '${file}'`,
    });
    await symlink(project, join(dir, "link"));
    await putUsers(`[projects]\ntrusted = ["/elsewhere", ${JSON.stringify(join(dir, "link"))}]`);
    for (const serves of ["arguments", "wanted"] as const) {
      const config = await load({ cwd: project, serves });
      assert.deepEqual([config.file, config.isFound], [file, false]);
      assert.equal(config.caches[0]?.foundFile, undefined);
    }
    assert.deepEqual(notes, []);
    await mkdir(join(project, "below"));
    await put("p q/below/handpick.toml", text);
    await assert.rejects(load({ cwd: join(project, "below") }), { code: "CONFIG_UNTRUSTED" });
  });

  it("lets a project's file add rules, and not loosen those of the user", async () => {
    await putProject(
      '[rules]\nexclude = ["a", "b"]\nmax-nar-size = 5\non-hole = "push-anyway"\n[builds]\ninclude = ["*"]\n[projects]\ntrusted = ["/"]',
    );
    const alone = await load();
    assert.deepEqual(alone.rules, { exclude: ["a", "b"], maxNarSize: 5, onHole: "hold" });
    assert.deepEqual([alone.builds.include, alone.trustedProjects], [[], []]);
    await putUsers('[rules]\nexclude = ["b", "c"]\nmax-nar-size = 4\non-hole = "fail"');
    const both = { exclude: ["b", "c", "a"], maxNarSize: 4, onHole: "fail" };
    assert.deepEqual((await load()).rules, both);
  });

  it("asks a project's upstreams elsewhere only if the file is named", async () => {
    const upstreams = (...urls: readonly string[]): Promise<string> =>
      putProject(`[caches.c]\nurl = "cachix://c"\nupstreams = ${JSON.stringify(urls)}\n`);
    const harmless = ["https://cache.nixos.org", "https://other.cachix.org", "http://127.0.0.1:1"];
    await upstreams(...harmless);
    assert.deepEqual((await load()).caches[0]?.upstreams, harmless);
    const strange = [
      "https://cache.nixos.org.evil.example",
      "http://x.cachix.org",
      "https://10.0.0.1",
    ];
    for (const stranger of strange) {
      const file = await upstreams(...harmless, stranger);
      const message = new RegExp(stranger.replaceAll(".", "\\."));
      await assert.rejects(load(), { code: "CONFIG_UNTRUSTED", message });
      assert.equal((await load({ file })).caches[0]?.upstreams?.length, 4);
    }
  });

  it("takes a folder from a project's file only inside its own, wherever links lead", async () => {
    const project = join(dir, "p q");
    await mkdir(join(dir, "elsewhere"));
    await mkdir(project);
    await mkdir(join(project, "inside"));
    await symlink("../elsewhere", join(project, "out"));
    await symlink("inside", join(project, "in"));
    await symlink("nothing", join(project, "broken"));
    await symlink("loop", join(project, "loop"));
    const at = (folder: string): Promise<string> =>
      put("p q/handpick.toml", `[caches.c]\nurl = "${fileUrl(folder)}"\n`);
    for (const name of ["inside", "in", "in/new", "new/er/still"]) {
      await at(join(project, name));
      assert.equal((await load({ cwd: project })).caches[0]?.url, fileUrl(join(project, name)));
    }
    await symlink(".", join(project, "self"));
    const real = await realpath(dir);
    const nowhere = ", and the place that this leads to cannot be found";
    for (const [name, fault] of [
      ["out", `, which leads to ${real}/elsewhere, outside of its folder`],
      ["out/new", `, which leads to ${real}/elsewhere/new, outside of its folder`],
      ["broken", nowhere],
      ["broken/x", nowhere],
      ["loop", nowhere],
      ["self", `, which leads to ${real}/p q, and may only write below its folder`],
      [".", ", and may only write below its folder"],
      ["..", ", which is outside of its folder"],
      ["/srv/c", ", which is outside of its folder"],
    ] as const) {
      const folder = resolve(project, name);
      const file = await at(folder);
      await assert.rejects(load({ cwd: project }), (error: HandpickError) => {
        assert.equal(error.code, "CONFIG_UNTRUSTED");
        assert.ok(error.message.endsWith(`would write to ${folder}${fault}`), error.message);
        assert.match(error.hint ?? "", /--config '.*handpick\.toml'$/);
        return true;
      });
      assert.equal((await load({ file })).caches[0]?.url, fileUrl(folder));
    }
  });

  it("refuses a project's file that names a variable", async () => {
    const text = '[caches.c]\nurl = "cachix://c"\ntoken-env = "AWS_SECRET_ACCESS_KEY"\n';
    const file = await putProject(text);
    const message = /takes the variable AWS_SECRET_ACCESS_KEY as a token$/;
    await assert.rejects(load(), { code: "CONFIG_UNTRUSTED", message });
    assert.equal((await load({ file })).caches[0]?.tokenEnv, "AWS_SECRET_ACCESS_KEY");
  });

  it(
    "refuses a project's file that is somebody else's, as a link or in another's folder",
    {
      skip: needsRoot,
    },
    async () => {
      const file = await putProject('caches.c.url = "cachix://c"');
      const refused = async (
        options: Partial<LoadConfigOptions>,
        message: RegExp,
      ): Promise<void> => {
        const hint = `If you trust it, name it: --config ${file}`;
        await assert.rejects(load(options), { code: "CONFIG_UNTRUSTED", message, hint });
        assert.equal((await load({ ...options, serves: "wanted" })).file, undefined);
        assert.equal((await load({ ...options, file })).isFound, false);
      };
      await refused({ uid: 1000 }, /it belongs to user 0, not to you \(user 1000\)$/);
      await chown(file, 1234, 1234);
      await refused({}, /it belongs to user 1234, not to you \(user 0\)$/);
      const sudo = { SUDO_UID: "1234", XDG_CONFIG_HOME: join(dir, "xdg") };
      assert.equal((await load({ env: sudo })).isFound, true);
      await refused({ uid: 1000, env: sudo }, /user 1234/);
      await refused({ env: { ...sudo, SUDO_UID: "123" } }, /user 1234/);
      await chmod(dir, 0o777);
      await refused({}, /user 1234/);
      await chown(file, 0, 0);
      assert.equal((await load()).isFound, true);
      await chown(dir, 1234, 1234);
      await refused({}, /its folder belongs to user 1234/);
      await chown(dir, 0, 0);
      const target = await put("theirs.toml", 'caches.c.url = "cachix://c"');
      await chown(target, 1234, 1234);
      await rm(file);
      await symlink(target, file);
      await refused({}, /user 1234/);
      await chown(target, 0, 0);
      assert.equal((await load()).isFound, true);
      execFileSync("chown", ["-h", "1234", file]);
      await refused({}, /user 1234/);
      await rm(file);
      await chown(target, 1234, 1234);
      await link(target, file);
      await refused({}, /user 1234/);
    },
  );

  it("refuses a project's file that everybody may write", async () => {
    const file = await putProject('caches.c.url = "cachix://c"');
    await chmod(file, 0o666);
    await assert.rejects(load(), {
      code: "CONFIG_UNTRUSTED",
      message: /every user may write to it/,
    });
  });

  it("waits for no pipe that it found, and for a named one within bounds", async () => {
    const file = join(dir, "handpick.toml");
    execFileSync("mkfifo", [file]);
    const message = `Cannot read configuration ${file}: it is a pipe`;
    await assert.rejects(load(), { code: "CONFIG_UNREADABLE", message });
    const writing = writeFile(file, "[rules]\n");
    assert.equal((await load({ file })).file, file);
    await writing;
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
      await assert.rejects(load({ file }), {
        code: "CONFIG_UNREADABLE",
        message: `Cannot read configuration ${join(dir, file)}: ${reason}`,
      });
    }
  });

  it("does not pass over a file of the user that is there but cannot be read", async () => {
    await mkdir(join(dir, "xdg/handpick/config.toml"), { recursive: true });
    await assert.rejects(load(), { code: "CONFIG_UNREADABLE" });
    await assert.rejects(load({ serves: "wanted" }), { code: "CONFIG_UNREADABLE" });
  });

  it("does not pass over a link that leads nowhere for the next file", async () => {
    const message = /: it is a link that leads nowhere$/;
    const refusal = { code: "CONFIG_UNREADABLE", message, hint: /^Mend or remove it/ };
    await putUsers('[caches.mine]\nurl = "cachix://mine"');
    await symlink("gone.toml", join(dir, "handpick.toml"));
    await assert.rejects(load(), refusal);
    await rm(join(dir, "handpick.toml"));
    await rm(join(dir, "xdg/handpick/config.toml"));
    await symlink("/gone/config.toml", join(dir, "xdg/handpick/config.toml"));
    await assert.rejects(load({ uid: 0 }), refusal);
    await assert.rejects(load({ serves: "wanted" }), refusal);
  });

  it("says of no file that it was found where it may not look", { skip: needsRoot }, async () => {
    await putProject("");
    await chmod(dir, 0o700);
    const env = { XDG_CONFIG_HOME: "/nonexistent" };
    await asOrdinaryUser(async () => {
      const { search } = await load({ serves: "wanted", env, uid: NOBODY });
      assert.deepEqual([search?.skipped, notes], [undefined, []]);
      await assert.rejects(load({ env, uid: NOBODY }), { message: /permission denied$/ });
    });
  });
});

describe("assertConfigFile()", () => {
  it("refuses a file of --config that is not there, and only that", async () => {
    await assert.rejects(assertConfigFile({ file: "nothere.toml", cwd: "/" }), {
      code: "CONFIG_UNREADABLE",
      message: "Cannot read configuration /nothere.toml: it does not exist",
    });
    await assertConfigFile({ file: undefined, cwd: "/" });
    await assertConfigFile({ file: "/dev/null", cwd: "/" });
  });
});
