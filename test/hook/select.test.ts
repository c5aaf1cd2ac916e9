import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  chmod,
  chown,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";

import type { Result } from "../handpick.ts";
import { NOBODY } from "../ordinary-user.ts";
import {
  hookRig,
  needsStrace,
  NO_FULL_DISK,
  onFullDisk,
  onTerminal,
  runCommand,
  selecting,
  SHELLS,
} from "./hook-rig.ts";

const SILENT = { status: 0, stdout: "", stderr: "" };

for (const { shell, skip } of SHELLS) {
  describe(`the selection hook in ${shell.join(" ")}`, { timeout: 60_000, skip }, () => {
    it("makes folders for their owner only, the link and a marker, and says nothing", async () => {
      await using rig = await hookRig();
      const manifest = await rig.manifest("m");
      assert.deepEqual(await runCommand([...shell, selecting("me", manifest)], rig.env), SILENT);
      assert.deepEqual(await rig.found(), { wanted: { me: manifest }, spool: ["wanted-me"] });
      for (const folder of ["", "wanted", "spool"]) {
        assert.equal((await stat(join(rig.state, folder))).mode & 0o777, 0o700, folder);
      }
    });

    it("replaces a link, also one that leads nowhere", async () => {
      await using rig = await hookRig();
      const [first, second] = [await rig.manifest("first"), await rig.manifest("second")];
      for (const manifest of [first, second]) {
        await runCommand([...shell, selecting("me", manifest)], rig.env);
      }
      assert.deepEqual(await rig.found(), { wanted: { me: second }, spool: ["wanted-me"] });
      await rm(second);
      await runCommand([...shell, selecting("me", first)], rig.env);
      assert.deepEqual((await rig.found()).wanted, { me: first });
    });

    it("leaves no marker where nothing changed, and starts no process", async () => {
      await using rig = await hookRig();
      const manifest = await rig.manifest("m");
      await runCommand([...shell, selecting("me", manifest)], rig.env);
      await rm(join(rig.state, "spool/wanted-me"));
      const bare = { HANDPICK_STATE_DIR: rig.state, PATH: "" };
      const [program = ""] = shell;
      const found = spawnSync("sh", ["-c", `command -v ${program}`], { encoding: "utf8" });
      const absolute = [found.stdout.trim(), ...shell.slice(1)];
      const script = `${selecting("me", manifest, "/nowhere")}; echo done`;
      assert.deepEqual(await runCommand([...absolute, script], bare), {
        ...SILENT,
        stdout: "done\n",
      });
      assert.deepEqual(await rig.found(), { wanted: { me: manifest }, spool: [] });
    });

    it("starts no process where nothing changed, strace says", { skip: needsStrace }, async () => {
      await using rig = await hookRig();
      const manifest = await rig.manifest("m");
      const log = join(rig.dir, "strace");
      const calls = "trace=execve,fork,vfork,clone,clone3";
      const traced = ["strace", "-f", "-qq", "-o", log, "-e", calls, ...shell];
      const script = `${selecting("me", manifest)}; :`;
      await runCommand([...traced, script], rig.env);
      assert.match(await readFile(log, "utf8"), /\/mv"/, "a change takes processes");
      await runCommand([...traced, script], rig.env);
      assert.match(await readFile(log, "utf8"), /^\d+ +execve\(.*\n$/, "the shell and no other");
    });

    it("does nothing in CI, if disabled, or for a manifest that is gone", async () => {
      await using rig = await hookRig();
      const manifest = await rig.manifest("m");
      for (const env of [{ CI: "true" }, { HANDPICK_DISABLE: "1" }]) {
        const run = runCommand([...shell, selecting("me", manifest)], { ...rig.env, ...env });
        assert.deepEqual(await run, SILENT);
      }
      assert.deepEqual(await runCommand([...shell, selecting("me", "/gone")], rig.env), SILENT);
      await assert.rejects(stat(rig.state), { code: "ENOENT" });
    });

    it("changes nothing in a dry run, and says what it would do to a terminal", async () => {
      await using rig = await hookRig();
      const manifest = await rig.manifest("m");
      const script = [...shell, selecting("me", manifest)];
      const env = { ...rig.env, DRY_RUN: "" };
      assert.deepEqual(await runCommand(script, env), SILENT);
      assert.equal(await onTerminal(script, env), `handpick: would select ${manifest}\r\n`);
      await assert.rejects(stat(rig.state), { code: "ENOENT" });
    });

    it("ends well and in silence wherever it cannot write", async () => {
      await using rig = await hookRig();
      const manifest = await rig.manifest("m");
      await mkdir(join(rig.dir, "shut"));
      await chmod(join(rig.dir, "shut"), 0o555);
      await writeFile(join(rig.dir, "file"), "");
      await symlink("loop", join(rig.dir, "loop"));
      const states = ["/proc/nowhere", "/dev/null", `${rig.dir}/file`, `${rig.dir}/loop`];
      for (const state of [...states, `${rig.dir}/shut`, "relative"]) {
        const env = { ...rig.env, HANDPICK_STATE_DIR: state };
        const script = `cd ${rig.dir}; ${selecting("me", manifest)}; echo done`;
        const result = await runCommand([...asNobody(shell, rig.dir), script], env);
        assert.deepEqual(result, { ...SILENT, stdout: "done\n" }, state);
      }
      await assert.rejects(stat(join(rig.dir, "relative")), { code: "ENOENT" });
    });

    it("ends well and in silence on a full disk", async (t) => {
      await using rig = await hookRig();
      const manifest = await rig.manifest("m");
      await mkdir(rig.state);
      for (const lacks of ["bytes", "files"] as const) {
        const words = [...shell, selecting("me", manifest)].map((word) => `'${word}'`).join(" ");
        const script = `${words}; echo $?; find ${rig.state} -name '.?*'`;
        const result = await onFullDisk({ dir: rig.state, lacks }, script, rig.env);
        if (result === undefined) return t.skip(NO_FULL_DISK);
        assert.deepEqual(result, { ...SILENT, stdout: "0\n" }, lacks);
      }
    });

    it("keeps its state where the program looks for it", async () => {
      await using rig = await hookRig();
      const manifest = await rig.manifest("m");
      await mkdir(join(rig.dir, "home"));
      await chmod(join(rig.dir, "home"), 0o777);
      const home = join(rig.dir, "home");
      const places: readonly (readonly [Record<string, string>, string])[] = [
        [{ HOME: home }, ".local/state/handpick"],
        [{ HOME: home, XDG_STATE_HOME: "relative" }, ".local/state/handpick"],
        [{ HOME: "/nowhere", XDG_STATE_HOME: join(home, "x d*g") }, "x d*g/handpick"],
      ];
      for (const [env, place] of places) {
        const script = [...asNobody(shell, rig.dir), selecting("me", manifest)];
        assert.deepEqual(
          await runCommand(script, { PATH: process.env["PATH"] ?? "", ...env }),
          SILENT,
        );
        assert.ok((await stat(join(home, place, "spool/wanted-me"))).isFile(), place);
        await rm(join(home, place), { recursive: true });
      }
      const homeless = await runCommand([...asNobody(shell, rig.dir), selecting("me", manifest)], {
        PATH: process.env["PATH"] ?? "",
      });
      assert.deepEqual(homeless, SILENT);
    });

    it("leaves the caller's shell as it was, whatever its options", async () => {
      await using rig = await hookRig();
      const manifest = await rig.manifest("m");
      const program = shell[0] === "bash" ? "declare -f; shopt -p;" : "";
      const look = [
        "look() {",
        `  set +x; set | grep -Ev '^(_|BASH_[A-Z]+|LINENO|PIPESTATUS|FUNCNAME|RANDOM|PPID)='`,
        `  ${program} set +o; trap; umask; pwd; alias; ls /proc/$$/fd`,
        "}",
        "state=mine; line=mine; readonly state line",
        "trap 'echo ended' EXIT; trap 'echo hup' HUP; umask 027; exec 5>/dev/null",
        "look >|before 2>&1",
      ].join("\n");
      for (const options of ["-u", "-C", "-f", "-a", "-e", "-euC"]) {
        const script = [
          `cd ${rig.dir}`,
          look,
          `set ${options}`,
          "set +o >|options",
          selecting("me", manifest).replace(" ||", " true ||"), // starts it
          "_handpick_forget",
          "set +o | cmp - options || echo options differ",
          `set +${options.slice(1)}`,
          "look >|after 2>&1",
          "diff before after",
        ].join("\n");
        const result = await runCommand([...shell, script], rig.env);
        assert.deepEqual(result, { ...SILENT, stdout: "ended\n" }, options);
        assert.deepEqual((await rig.found()).wanted, { me: manifest }, options);
        await rm(rig.state, { recursive: true });
      }
    });

    it("shows a notice once a day, on a terminal only", async () => {
      await using rig = await hookRig();
      const manifest = await rig.manifest("m");
      const script = [...shell, `${selecting("me", manifest)}; echo then >&2`];
      await runCommand(script, rig.env);
      await writeFile(join(rig.state, "notice"), "handpick: mine cannot be reached\n");
      const shown = "handpick: mine cannot be reached\r\nthen\r\n";
      assert.deepEqual(await runCommand(script, rig.env), { ...SILENT, stderr: "then\n" });
      assert.equal(await onTerminal(script, rig.env), shown);
      assert.equal(await onTerminal(script, rig.env), "then\r\n");
      await writeFile(join(rig.state, "notice-shown"), "2001-01-01\n");
      assert.equal(await onTerminal(script, { ...rig.env, DRY_RUN: "1" }), "then\r\n");
      assert.equal(await onTerminal(script, rig.env), shown);
      await rm(join(rig.state, "notice"));
      await rm(join(rig.state, "notice-shown"));
      assert.equal(await onTerminal(script, rig.env), "then\r\n");
    });

    it("writes through no link and waits for no pipe that is in the state folder", async () => {
      await using rig = await hookRig();
      const manifest = await rig.manifest("m");
      const others = join(rig.dir, "others");
      await writeFile(others, "theirs");
      const inState = (name: string): string => join(rig.state, name);
      await mkdir(inState("spool"), { recursive: true });
      await writeFile(inState("notice"), "handpick: it fails\n");
      await symlink(others, inState("spool/wanted-me"));
      await symlink(others, inState("notice-shown"));
      const script = [...shell, selecting("me", manifest)];
      assert.equal(await onTerminal(script, rig.env), "handpick: it fails\r\n");
      assert.equal(await readFile(others, "utf8"), "theirs");
      assert.deepEqual((await rig.found()).wanted, { me: manifest });
      for (const name of ["spool/wanted-me", "notice-shown", "wanted/me"]) await rm(inState(name));
      spawnSync("mkfifo", [inState("spool/wanted-me"), inState("notice-shown")]);
      assert.equal(await onTerminal(script, rig.env), "handpick: it fails\r\n");
      await rm(inState("notice-shown"));
      await writeFile(inState("notice"), "\u001b]0;title\u0007\n");
      assert.equal(await onTerminal(script, rig.env), "", "nothing that a terminal obeys");
    });

    it("is led nowhere by a link in place of a folder, also in the folder of another", async () => {
      await using rig = await hookRig();
      const manifest = await rig.manifest("m");
      const victim = join(rig.dir, "victim");
      const inState = (name: string): string => join(rig.state, name);
      const select = (): Promise<Result> =>
        runCommand([...shell, selecting("me", manifest)], rig.env);
      const owners = process.getuid?.() === 0 ? [0, NOBODY] : [undefined];
      await chmod(rig.dir, 0o755);
      for (const owner of owners) {
        for (const name of ["wanted", "spool"]) {
          await rm(rig.state, { recursive: true, force: true });
          await mkdir(inState("wanted"), { recursive: true });
          await mkdir(inState("spool"));
          await mkdir(victim);
          if (owner !== undefined) await chown(rig.state, owner, owner);
          await rename(inState(name), inState("kept"));
          await symlink(victim, inState(name));
          assert.equal((await select()).status, 0);
          assert.deepEqual(await readdir(victim), [], name);
          await rm(inState(name));
          await rename(inState("kept"), inState(name));
          assert.equal((await select()).status, 0);
          const found = await rig.found();
          assert.deepEqual(found, { wanted: { me: manifest }, spool: ["wanted-me"] }, name);
          await rm(victim, { recursive: true });
        }
      }
    });

    it("loses nothing where 50 run at once", async () => {
      await using rig = await hookRig();
      const manifests = await Promise.all(["a", "b", "c"].map((name) => rig.manifest(name)));
      const runs = Array.from({ length: 50 }, (_, index) => {
        const manifest = manifests[index % 3] ?? "";
        return runCommand([...shell, selecting(`me-${index % 5}`, manifest)], rig.env);
      });
      for (const result of await Promise.all(runs)) assert.deepEqual(result, SILENT);
      const { wanted, spool } = await rig.found();
      assert.deepEqual(Object.keys(wanted), ["me-0", "me-1", "me-2", "me-3", "me-4"]);
      for (const target of Object.values(wanted)) assert.ok(manifests.includes(target), target);
      assert.deepEqual(
        spool,
        Object.keys(wanted).map((name) => `wanted-${name}`),
      );
    });
  });
}

it("The selection hook is tried in more than one shell", () => {
  assert.ok(SHELLS.filter(({ skip }) => skip === false).length > 1);
});

/** The command with the rights of an ordinary user, and what it needs below `dir` open to it. */
function asNobody(command: readonly string[], dir: string): readonly string[] {
  if (process.getuid?.() !== 0) return command;
  spawnSync("chmod", ["-R", "a+rX", dir]);
  const user = ["--reuid", String(NOBODY), "--regid", String(NOBODY), "--clear-groups"];
  return ["setpriv", ...user, ...command];
}
