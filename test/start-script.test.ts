import assert from "node:assert/strict";
import { cp, mkdir, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";

import { BUNDLE } from "./handpick.ts";
import { readProject, ROOT } from "./markdown.ts";
import { createTestNix } from "./nix.ts";
import { assertKeepsOut } from "./start-script.ts";
import { tempDir } from "./temp.ts";
import { runCommand } from "./hook/hook-rig.ts";

const { bin, files, version } = JSON.parse(await readProject("package.json")) as {
  bin: { handpick: string };
  files: readonly string[];
  version: string;
};
const script = join(ROOT, bin.handpick);

describe("bin/handpick", () => {
  it("loads no code that the environment names, and no weaker TLS", async () => {
    await using nix = await createTestNix();
    await assertKeepsOut(nix, script, {});
  });

  it("gives the command of exec its NODE_OPTIONS back", async () => {
    await using nix = await createTestNix();
    const print = `echo "[$NODE_OPTIONS][\${HANDPICK_NODE_OPTIONS-none}]"`;
    const words = ["exec", "-q", "-i", "none*", "--to", "cachix://mine", "--", "sh", "-c", print];
    for (const [env, printed] of [
      [{ NODE_OPTIONS: "--require /gone.cjs" }, "[--require /gone.cjs][none]\n"],
      [{ HANDPICK_NODE_OPTIONS: "--stale" }, "[][none]\n"],
    ] as const) {
      const { stdout, stderr } = await nix.run(script, words, { env });
      assert.equal(stdout, printed, stderr);
    }
  });

  it("starts Node without variables that weaken it, and with all others", async () => {
    await using temp = await tempDir();
    await cp(script, join(temp.dir, bin.handpick), { recursive: true });
    await writeFile(join(temp.dir, "node"), "#!/bin/sh\nenv\n", { mode: 0o755 });
    const kept = { NODE_EXTRA_CA_CERTS: "/ca", https_proxy: "proxy:1", A: "b" };
    const weak = { NODE_TLS_REJECT_UNAUTHORIZED: "0", NODE_OPTIONS: "--x", NODE_PATH: "/x" };
    // Node hands this variable down by itself unless it is named here.
    const NODE_V8_COVERAGE = "";
    const env = { ...kept, ...weak, NODE_V8_COVERAGE, PATH: `${temp.dir}:/usr/bin:/bin` };
    const { stdout } = await runCommand([join(temp.dir, bin.handpick)], env);
    for (const [name, value] of Object.entries(kept))
      assert.ok(stdout.includes(`${name}=${value}\n`));
    assert.doesNotMatch(stdout, /^NODE_(?!EXTRA_CA_CERTS|V8_COVERAGE=$)/m);
  });

  it("drops the same variables as the script of nix/package.nix", async () => {
    const dropped = async (file: string): Promise<string[]> =>
      Array.from(
        (await readProject(file)).matchAll(/^\s*unset (NODE_.*)$/gm),
        ([, names = ""]) => names,
      );
    const names = await dropped(bin.handpick);
    assert.equal(names.length, 1);
    assert.deepEqual(await dropped("nix/package.nix"), names);
    const handed = async (file: string): Promise<string[]> =>
      (await readProject(file)).split("\n").flatMap((line) => {
        const text = line.trim().replaceAll("\\''", "").replaceAll("\\$", "$");
        return text.includes("HANDPICK_NODE_OPTIONS") ? [text] : [];
      });
    assert.equal((await handed(bin.handpick)).length, 2);
    assert.deepEqual(await handed("nix/package.nix"), await handed(bin.handpick));
  });

  it("finds its folder through links, relative and absolute, from anywhere", async () => {
    await using temp = await tempDir();
    // As npm installs it: no Node of its own, and names with blanks.
    const root = join(temp.dir, "lib dir", "nix-handpick");
    await cp(dirname(BUNDLE), join(root, "dist"), { recursive: true });
    await cp(script, join(root, bin.handpick), { recursive: true });
    await cp(join(ROOT, "package.json"), join(root, "package.json"));
    await mkdir(join(temp.dir, "bin"));
    await symlink(join("../lib dir/nix-handpick", bin.handpick), join(temp.dir, "bin/handpick"));
    await symlink(join(temp.dir, "bin/handpick"), join(temp.dir, "absolute"));
    await symlink("absolute", join(temp.dir, "-twice"));
    const node = join(temp.dir, "node dir");
    await mkdir(node);
    await symlink(process.execPath, join(node, "node"));
    const PATH = `${node}:/usr/bin:/bin`;
    for (const [program, cwd] of [
      [join(temp.dir, "bin/handpick"), "/"],
      [join(temp.dir, "absolute"), "/"],
      ["./-twice", temp.dir],
      ["bin/handpick", temp.dir],
    ] as const) {
      const command = ["sh", "-c", 'cd "$1" && "$2" --version', "sh", cwd, program];
      for (const env of [{ PATH }, { PATH, CDPATH: temp.dir }]) {
        const { stdout, stderr } = await runCommand(command, env);
        assert.deepEqual([stdout, stderr], [`${version}\n`, ""], program);
      }
    }
    const found = await runCommand(["sh", "-c", "handpick --version"], {
      PATH: `${temp.dir}/bin:${PATH}`,
    });
    assert.equal(found.stdout, `${version}\n`);
  });

  it("is what npm installs, with the bundle", () => {
    assert.deepEqual(files, [dirname(bin.handpick), "dist"]);
  });
});
