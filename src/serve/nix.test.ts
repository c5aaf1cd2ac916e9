import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { createTestNix, type TestNix } from "../../test/nix.ts";
import {
  sampleOf,
  startTestServer,
  type Sample,
  type TestServer,
} from "../../test/serve-client.ts";
import { narString } from "../nix/nar-encode.ts";
import { parseStorePath, type StorePath } from "../nix/store-path.ts";
import { nixConfLines } from "./server.ts";

const EXPRESSION = `
  builtins.toFile "app" "needs \${builtins.toFile "lib" "the library\\n"}\\n"
`;

/** Tells what a client would send for a path of a chroot store. */
async function sampleFrom(
  nix: TestNix,
  path: StorePath,
  compression: "zst" | "xz",
): Promise<Sample> {
  const { stdout } = await nix.run("nix-store", ["--query", "--references", path]);
  const references = stdout
    .split("\n")
    .filter(Boolean)
    .map((line) => parseStorePath(line));
  const dumped = await nix.run("sh", [
    "-c",
    `nix-store --dump ${nix.dir}/root${path} > ${nix.dir}/nar`,
  ]);
  assert.equal(dumped.status, 0);
  return sampleOf(path, await readFile(join(nix.dir, "nar")), { references, compression });
}

describe("real Nix", () => {
  let app: Sample;
  let lib: Sample;
  before(async () => {
    await using nix = await createTestNix({ root: true });
    const { stdout } = await nix.run("nix-instantiate", [
      "--eval",
      "--read-write-mode",
      "--expr",
      EXPRESSION,
    ]);
    const appPath = parseStorePath(JSON.parse(stdout));
    const closure = await nix.run("nix-store", ["--query", "--references", appPath]);
    const libPath = parseStorePath(closure.stdout.trim());
    app = await sampleFrom(nix, appPath, "zst");
    lib = await sampleFrom(nix, libPath, "xz");
    assert.ok(app.nar.subarray(0, 24).equals(narString("nix-archive-1")));
  });

  /** Fetches the app into an empty store that trusts the lines and nothing else. */
  async function substitute(lines: readonly string[]): Promise<string | undefined> {
    await using nix = await createTestNix({ root: true });
    const env = { NIX_CONFIG: ["require-sigs = true", ...lines].join("\n") };
    const options = { env, allowFailure: true };
    const { status } = await nix.run("nix-store", ["--realise", app.storePath], options);
    if (status !== 0) return undefined;
    await nix.run("nix-store", ["--verify", "--check-contents"]);
    return readFile(join(nix.dir, "root", app.storePath), "utf8");
  }

  describe("reading a public cache", () => {
    let rig: TestServer;
    before(async () => {
      rig = await startTestServer();
    });
    after(() => rig[Symbol.asyncDispose]());

    it("gets nothing before the closure is there, and all of it afterwards", async () => {
      await rig.client.push(app);
      assert.equal(await substitute(nixConfLines(rig.server)), undefined);
      await rig.client.push(lib, 50);
      assert.equal(await substitute(nixConfLines(rig.server)), `needs ${lib.storePath}\n`);
    });

    it("takes no path without the key", async () => {
      const lines = nixConfLines(rig.server).filter((line) => !line.includes("keys"));
      assert.equal(await substitute(lines), undefined);
    });
  });

  it("reads a private cache with the token from a netrc file, and not without", async () => {
    await using rig = await startTestServer({ isPrivate: true });
    await rig.client.push(app);
    await rig.client.push(lib);
    const netrc = join(rig.dir, "netrc");
    const lines = nixConfLines(rig.server, netrc);
    await writeFile(netrc, "");
    assert.equal(await substitute(lines), undefined);
    // The line as the comment tells it, with the token put in.
    const line = /machine \S+ password TOKEN/.exec(lines.join("\n"))?.[0] ?? "";
    await writeFile(netrc, line.replace("TOKEN", rig.client.token ?? ""), { mode: 0o600 });
    assert.equal(await substitute(lines), `needs ${lib.storePath}\n`);
    assert.ok(rig.lines.some((each) => / 401 /.test(each)));
  });
});
