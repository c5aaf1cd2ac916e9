import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { handpick } from "../handpick.ts";
import { POST_BUILD_HOOK } from "../hook/hook-rig.ts";
import { CA_FEATURES, shPackages } from "../sh-packages.ts";
import { LiveRig } from "./live-rig.ts";

const PACKAGES = shPackages(
  `rec {
  lib = sh "lib-\${tag}" ca "echo lib \${tag} > $out";
  app = sh "ca-\${tag}" (ca // { inherit lib; outputs = [ "out" "doc" ]; })
    "echo $lib > $out; echo doc \${tag} > $doc";
}`,
  "{ tag }:",
);

/** A content-addressed derivation names no output before it is built, and Nix 2.8 names none to hooks. */
describe("builds of content-addressed derivations, without a daemon", { timeout: 60_000 }, () => {
  let rig: LiveRig;
  const config = { NIX_CONFIG: CA_FEATURES };
  before(async () => {
    rig = await LiveRig.create();
    await writeFile(join(rig.nix.dir, "packages.nix"), PACKAGES);
  });
  after(async () => {
    await rig[Symbol.asyncDispose]();
  });

  const building = (tag: string): string[] =>
    `nix-build packages.nix --no-out-link -A app --argstr tag ${tag}`.split(" ");

  async function servedOf(tag: string): Promise<string[]> {
    return (await rig.served()).filter((name) => name.split("-").includes(tag));
  }

  for (const way of ["hook", "store"]) {
    it(`are pushed by exec, told by ${way}`, async () => {
      const words = ["exec", "--strict", "-i", "ca-*", "--via", way, "--", ...building(way)];
      const { status, stderr } = await handpick(rig.nix, words, { env: { ...rig.env, ...config } });
      assert.equal(status, 0, stderr);
      assert.match(stderr, /^3 pushed /m);
      assert.deepEqual(await servedOf(way), [`ca-${way}`, `ca-${way}-doc`, `lib-${way}`]);
    });
  }

  it("are pushed by a sync after the post-build hook", async () => {
    await rig.moveCache(rig.serve.url, '[builds]\ninclude = ["ca-*"]\n');
    const [program = "", ...args] = building("sync");
    const hook = ["--option", "post-build-hook", POST_BUILD_HOOK];
    await rig.nix.run(program, [...args, ...hook], { env: { ...rig.env, ...config } });
    const { status, stderr, stdout } = await handpick(rig.nix, ["sync"], { env: rig.env });
    assert.equal(status, 0, stderr);
    assert.match(stdout, /^3 pushed /m);
    assert.deepEqual(await servedOf("sync"), ["ca-sync", "ca-sync-doc", "lib-sync"]);
  });

  it("are what plan finds of a derivation", async () => {
    const [, ...args] = building("plan");
    await rig.nix.run("nix-build", args, { env: config });
    const instantiate = args.filter((word) => word !== "--no-out-link");
    const drv = (await rig.nix.run("nix-instantiate", instantiate, { env: config })).stdout.trim();
    const { status, stderr, stdout } = await handpick(rig.nix, ["plan", drv.replace(/!.*/, "")]);
    assert.equal(status, 0, stderr);
    // Nix records for a derivation the outputs that were asked for.
    for (const name of ["ca-plan", "lib-plan"]) {
      assert.match(stdout, new RegExp(`^ +push .* ${name} `, "m"));
    }
  });
});
