import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmod, lchown, mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { createTestNix, type TestNix } from "../../test/nix.ts";
import { asOrdinaryUser, NOBODY } from "../../test/ordinary-user.ts";
import { openStore } from "../store/open-store.ts";
import type { Store } from "../store/store.ts";
import { readRoots } from "./roots.ts";

describe("readRoots()", { timeout: 60_000 }, () => {
  let nix: TestNix;
  let store: Store;
  let target: string;
  let home: string;
  let auto: string;
  before(async () => {
    nix = await createTestNix();
    target = await nix.add("app", "app");
    store = await openStore({ env: nix.env });
    home = join(nix.dir, "home");
    auto = join(nix.stateDir, "gcroots/auto");
    await mkdir(auto, { recursive: true });
    await mkdir(join(home, ".local/state/nix/profiles"), { recursive: true });
  });
  after(async () => {
    await store.close();
    await nix[Symbol.asyncDispose]();
  });

  async function read(uid = 0): Promise<readonly string[]> {
    const { signal } = new AbortController();
    const stateFolder = join(nix.dir, "state");
    const roots = await readRoots(store, { env: nix.env, uid, signal, stateFolder });
    const ours = roots.filter((root) => root.target === target);
    return ours.map(({ kind, name, generation }) => `${kind} ${name} ${generation ?? "now"}`);
  }

  /** Makes a link, and a root of the garbage collector that leads to it. */
  async function link(name: string, to: string): Promise<string> {
    const file = join(nix.dir, name);
    await symlink(to, file);
    await symlink(file, join(auto, Buffer.from(name).toString("hex")));
    return file;
  }

  it("finds profiles with their generations, what runs now, and result links", async () => {
    const profiles = join(home, ".local/state/nix/profiles");
    await symlink(target, join(profiles, "profile-9-link"));
    await symlink("profile-10-link", join(profiles, "profile"));
    await symlink(target, join(profiles, "profile-10-link"));
    await symlink(target, join(profiles, "channels-3-link"));
    await symlink(join(profiles, "profile-10-link"), join(auto, "generation"));
    const system = join(nix.stateDir, "profiles");
    await mkdir(system, { recursive: true });
    await symlink(target, join(system, "system-1-link"));
    const gcroots = join(home, ".local/state/home-manager/gcroots");
    await mkdir(gcroots, { recursive: true });
    await symlink(target, join(gcroots, "current-home"));
    const result = await link("result", target);
    assert.deepEqual(await read(), [
      "profile profile now",
      "profile profile 10",
      "profile profile 9",
      "profile system 1",
      `link ${result} now`,
    ]);
  });

  it("passes over what is no link into the store, and what cannot be read", async () => {
    const before = await read();
    await mkdir(join(nix.dir, "state/roots"), { recursive: true });
    await link("state/roots/own", target);
    await link("loop", "loop");
    await link("gone", "/nonexistent/x");
    await link("outside", "/etc/hostname");
    await link("pipe", "a-pipe");
    execFileSync("mkfifo", [join(nix.dir, "a-pipe")]);
    await symlink("relative", join(auto, "relative"));
    await writeFile(join(auto, "file"), "no link");
    await symlink(join(nix.dir, "closed/result"), join(auto, "closed"));
    await mkdir(join(nix.dir, "closed"));
    await symlink(target, join(nix.dir, "closed/result"));
    await chmod(join(nix.dir, "closed"), 0o000);
    // Taken for root, it gets the links of all users.
    assert.deepEqual(await asOrdinaryUser(() => read(0)), before);
    await chmod(join(nix.dir, "closed"), 0o755);
  });

  it("finds result links of the user only, but for root", async (context) => {
    if (process.geteuid?.() !== 0) return context.skip("only root can make links of others");
    const name = "result \u001B[2J";
    const file = await link(name, target);
    await lchown(file, NOBODY, NOBODY);
    assert.ok((await read()).includes(`link ${file} now`));
    const own = (await read(NOBODY)).filter((root) => root.startsWith("link"));
    assert.deepEqual(own, [`link ${file} now`]);
  });
});
