import assert from "node:assert/strict";
import { chmod, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { BUNDLE, freshMachine, startServe } from "./handpick.ts";
import type { ServeRig } from "./handpick.ts";
import { createTestNix } from "./nix.ts";
import type { RunResult, TestNix } from "./nix.ts";
import { NOBODY } from "./ordinary-user.ts";

const isRoot = process.getuid?.() === 0;
const USERS = [
  { name: "owner", user: "who owns it", identity: {} },
  { name: "reader", user: "who may only read it", identity: { uid: NOBODY, gid: NOBODY } },
] as const;

for (const way of ["daemon", "database"] as const) {
  describe(`handpick on a store by way of its ${way}`, { timeout: 120_000 }, () => {
    let nix: TestNix;
    let serve: ServeRig;
    let env: Readonly<Record<string, string>>;
    before(async () => {
      nix = await createTestNix({ root: true });
      serve = await startServe(nix);
      // Not by the file of the token, which its owner alone may read.
      const config = `[caches.mine]\nurl = "cachix://mine"\nhost = "${serve.url}"\ntoken-env = "T"\n`;
      const file = join(nix.dir, "handpick.toml");
      await writeFile(file, config);
      env = { T: serve.token, HANDPICK_CONFIG: file, NODE_V8_COVERAGE: "" };
      if (way === "database") return;
      const { socket } = await nix.startDaemon();
      env = { ...env, NIX_REMOTE: `unix://${socket}?root=${nix.dir}/root` };
    });
    after(async () => {
      await serve[Symbol.asyncDispose]();
      await nix[Symbol.asyncDispose]();
    });

    for (const { name, user, identity } of USERS) {
      const skip = name === "reader" && !isRoot && "only root can be another user";
      const run = (args: readonly string[]): Promise<RunResult> =>
        nix.run(process.execPath, [BUNDLE, ...args], { ...identity, env, allowFailure: true });

      it(`pushes for the user ${user} what an empty store substitutes`, { skip }, async () => {
        const [lib, app] = await addPackages(nix, `whole-${name}`);
        const { stdout } = await run(["doctor", "mine"]);
        assert.match(stdout, new RegExp(`^ok +store: /nix/store through ${way}`, "m"));
        const pushed = await run(["push", app]);
        assert.equal(pushed.status, 0, pushed.stderr);
        assert.match(pushed.stdout, /^2 pushed \(/m);
        const fresh = freshMachine(nix, serve, `fresh-${name}`);
        await nix.run("nix-store", ["--realise", app], { env: fresh.env });
        assert.equal(await readFile(join(fresh.root, app), "utf8"), `program with ${lib}`);
      });

      it(`tells the user ${user} of a corrupt path`, { skip }, async () => {
        const [lib, app] = await addPackages(nix, `corrupt-${name}`);
        const file = join(nix.dir, "root", lib);
        await chmod(file, 0o644);
        await writeFile(file, (await readFile(file, "utf8")).toUpperCase());
        await chmod(file, 0o444);
        const { status, stderr } = await run(["push", app]);
        assert.equal(status, 1);
        assert.match(stderr, /STORE_PATH_CORRUPT/);
      });
    }
  });
}

/** `lib` and `app`, which refers to it. */
async function addPackages(nix: TestNix, tag: string): Promise<readonly [string, string]> {
  const expression = `
    let lib = builtins.toFile "lib-${tag}" "library ${tag}";
    in "\${lib} \${builtins.toFile "app-${tag}" "program with \${lib}"}"`;
  const evaluate = ["--eval", "--read-write-mode", "--expr", expression];
  const { stdout } = await nix.run("nix-instantiate", evaluate);
  const [lib = "", app = ""] = (JSON.parse(stdout) as string).split(" ");
  return [lib, app];
}
