import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { startFakeCachix } from "./fakes/cachix.ts";
import { BUNDLE, handpick, resultOf, startHandpick } from "./handpick.ts";
import { createTestNix } from "./nix.ts";
import type { TestNix } from "./nix.ts";

const TOKEN = { T: "fake-token" };
const NEVER = new Promise<never>(() => undefined);
const TIMEOUT = 120_000;

describe("the end of a push", { timeout: TIMEOUT }, () => {
  let nix: TestNix;
  let small: readonly string[];
  before(async () => {
    nix = await createTestNix({ root: true });
    small = await Promise.all(["a", "b", "c"].map((name) => nix.add(name, `text of ${name}`)));
  });
  after(() => nix[Symbol.asyncDispose]());

  /** Arguments of a push to caches of these names at these addresses. */
  async function to(
    caches: Readonly<Record<string, string>>,
    paths: readonly string[],
  ): Promise<string[]> {
    const tables = Object.entries(caches).map(
      ([name, host]) =>
        `[caches.${name}]\nurl = "cachix://acme"\nhost = "${host}"\ntoken-env = "T"\n`,
    );
    const tag = randomBytes(4).toString("hex");
    await writeFile(join(nix.dir, `${tag}.toml`), tables.join(""));
    const picks = [{ name: "all", paths }];
    await writeFile(join(nix.dir, `${tag}.json`), JSON.stringify({ version: 1, name: "n", picks }));
    return ["push", "--config", `${tag}.toml`, `${tag}.json`];
  }

  describe("by Ctrl-C", () => {
    it("waits for the answer to a publication, gives up the rest and says how to go on", async () => {
      await using fake = await startFakeCachix();
      // Paths go out at once to a cache that has a key.
      fake.service.publicSigningKeys.push("acme-1:A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=");
      const [completed, waiting] = [fake.next("complete"), fake.next("put")];
      const answer = completed.hold();
      // Two parts never get an answer.
      waiting.handle(() => NEVER);
      fake.next("put").handle(() => NEVER);
      const child = startHandpick(nix, await to({ mine: fake.url }, small), { env: TOKEN });
      const ended = resultOf(child);
      await Promise.all([completed.arrived, waiting.arrived]);
      child.kill("SIGINT");
      // The others are given up before the one that is being published gets its answer.
      while (fake.of("abort").length < 2) await new Promise((next) => void setImmediate(next));
      answer();
      const { status, stdout, stderr } = await ended;
      assert.equal(status, 130, stderr);
      assert.match(
        stdout,
        /^1 pushed \(\d+ B\) in .* s, 2 not finished, run it again to go on\n$/,
        stderr,
      );
      const idOf = (target: string): string | undefined => target.split("/")[6];
      const published = fake.of("complete").map(({ target }) => idOf(target));
      assert.ok(fake.of("abort").every(({ target }) => !published.includes(idOf(target))));
      assert.deepEqual([fake.service.published.size, fake.service.openUploads], [1, 0]);
    });

    it("sends nothing after a publication that gets no answer, and ends within two seconds", async () => {
      await using fake = await startFakeCachix();
      const script = fake.next("complete").handle(() => NEVER);
      const args = await to({ mine: fake.url }, small.slice(0, 1));
      const child = startHandpick(nix, args, { env: TOKEN });
      const ended = resultOf(child);
      await script.arrived;
      const startMs = performance.now();
      child.kill("SIGINT");
      const { status, stdout } = await ended;
      assert.ok(performance.now() - startMs < 2_000);
      assert.equal(status, 130);
      assert.match(stdout, /^0 pushed in .*, 1 not finished, run it again to go on\n$/);
      assert.deepEqual(fake.requests.at(-1)?.operation, "complete");
    });
  });

  it("tells of Ctrl-C while the token of a cache is read from a pipe that nobody fills", async () => {
    await using fake = await startFakeCachix();
    const pipe = join(nix.dir, "pipe");
    await nix.run("mkfifo", [pipe]);
    const args = await to({ piped: fake.url, mine: fake.url }, small.slice(0, 1));
    const config = join(nix.dir, args[2] ?? "");
    const toml = await readFile(config, "utf8");
    await writeFile(config, toml.replace('token-env = "T"', `token-file = "${pipe}"`));
    const script = fake.next("complete").handle(() => NEVER);
    const child = startHandpick(nix, [...args, "--json"], { env: TOKEN });
    const ended = resultOf(child);
    await script.arrived;
    child.kill("SIGINT");
    const { status, stdout } = await ended;
    const events = stdout.trim().split("\n").slice(-2);
    const named = events.map((line) => (JSON.parse(line) as { event: string }).event);
    assert.deepEqual([status, ...named], [130, "error", "summary"], stdout);
  });

  it("tells of inputs that cannot be selected although every cache fails", async () => {
    const missing = `${nix.storeDir}/00000000000000000000000000000000-missing`;
    const args = await to({ mine: "http://127.0.0.1:9" }, [...small, missing]);
    const { status, stderr } = await handpick(nix, args, { env: TOKEN });
    assert.equal(status, 1);
    assert.match(stderr, /-missing is not valid in the Nix store \[PATH_NOT_VALID\]/);
    const json = await handpick(nix, [...args, "--json"], { env: TOKEN });
    const events = json.stdout.trim().split("\n");
    const named = events.map((line) => (JSON.parse(line) as { event: string }).event);
    assert.deepEqual(
      named.filter((event) => event !== "note"),
      ["rejected", "error", "summary"],
    );
  });

  it("tells of them too where nothing goes to any cache", async () => {
    const missing = `${nix.storeDir}/00000000000000000000000000000000-missing`;
    const args = await to({ mine: "http://127.0.0.1:9" }, []);
    const hints = { optional: true };
    const picks = [{ name: "all", paths: [small[0], missing], caches: ["elsewhere"], hints }];
    const manifest = JSON.stringify({ version: 1, name: "n", picks });
    await writeFile(join(nix.dir, args[3] ?? ""), manifest);
    const { status, stdout } = await handpick(nix, args, { env: TOKEN });
    assert.equal(status, 1);
    assert.match(stdout, /^0 pushed, 1 failed /);
  });

  describe("at caches that refuse", () => {
    /** How often a cache is named by an error. */
    const told = (stderr: string, name: string): number =>
      stderr
        .split("\n")
        .filter((line) => /^handpick: .*\[[A-Z_]+\]$/.test(line) && line.includes(`"${name}"`))
        .length;

    it("tells of each once, before anything is sent and in the middle, and exits with 3", async () => {
      for (const isEarly of [true, false]) {
        await using one = await startFakeCachix();
        await using other = await startFakeCachix();
        for (const fake of [one, other]) {
          if (isEarly) fake.service.permission = "Read";
          else fake.next("begin").reply(401, { body: "no" });
        }
        const args = await to({ one: one.url, other: other.url }, small);
        const { status, stderr } = await handpick(nix, args, { env: TOKEN });
        assert.deepEqual([told(stderr, "one"), told(stderr, "other")], [1, 1], stderr);
        assert.equal(status, 3, stderr);
        if (!isEarly) continue;
        const json = await handpick(nix, [...args, "--json"], { env: TOKEN });
        const lines = json.stdout.trim().split("\n");
        const events = lines.map((line) => (JSON.parse(line) as { event: string }).event);
        assert.deepEqual([json.status, ...events], [3, "error", "error", "summary"]);
      }
    });

    it("exits with 1 where something else is wrong as well", async () => {
      await using refusing = await startFakeCachix();
      await using picky = await startFakeCachix();
      refusing.service.permission = "Read";
      picky.next("begin").reply(413, { body: "too large" });
      const cases = [
        { refusing: refusing.url, picky: picky.url },
        { refusing: refusing.url, dead: "http://127.0.0.1:9" },
      ];
      for (const caches of cases) {
        const { status, stderr } = await handpick(nix, await to(caches, small), { env: TOKEN });
        assert.deepEqual([status, told(stderr, "refusing")], [1, 1], stderr);
        if ("dead" in caches) assert.equal(told(stderr, "dead"), 1, stderr);
      }
    });

    it("names the signing key that a cache misses, after one path at most", async () => {
      const large = await Promise.all(
        [3, 1, 2].map((mib) => nix.add(`random-${mib}`, randomBytes(mib << 20).toString("base64"))),
      );
      await using fake = await startFakeCachix();
      for (const _ of large) fake.next("complete").reply(400, { body: "cSig is null" });
      const { status, stdout, stderr } = await handpick(nix, await to({ mine: fake.url }, large), {
        env: TOKEN,
      });
      assert.equal(status, 3, stderr);
      assert.match(stderr, /\[SIGNING_KEY_MISSING\]\n {2}Set signing-key-file .* handpick keygen /);
      assert.match(stdout, /^0 pushed, 3 failed /);
      const sent = fake.of("put").reduce((sum, { body }) => sum + body.length, 0);
      assert.ok(sent < 2 << 20, `${sent} bytes were sent`);
      assert.deepEqual([fake.of("begin").length, fake.of("abort").length], [1, 1]);
    });
  });

  it("tells of a token that is missing as well where the network is", async () => {
    const args = await to({ mine: "http://127.0.0.1:9" }, small);
    const { status, stderr } = await handpick(nix, args);
    assert.equal(status, 1);
    assert.match(
      stderr,
      /was refused; there is no token for it either; variable T.* \[NETWORK\]\n/,
    );
    assert.match(
      stderr,
      /\n {2}Check the network.* Set token-file .*CACHIX_AUTH_TOKEN in the environment\..*\n/,
    );
  });

  it("is reached where few files may be open, with fewer paths at once", async () => {
    // A third is packed in threads.
    const expression = `
      let text = n: let many = if n == (n / 3) * 3 then 7000 else 1; in
        builtins.concatStringsSep " " (builtins.genList (_: "number \${toString n}") many);
      in builtins.genList (n: builtins.toFile "few" (text n)) 150`;
    const evaluate = ["--eval", "--strict", "--json", "--read-write-mode", "-E", expression];
    const { stdout } = await nix.run("nix-instantiate", evaluate);
    await using one = await startFakeCachix();
    await using other = await startFakeCachix();
    const keys = ["acme-1:A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="];
    for (const { service } of [one, other]) service.publicSigningKeys.push(...keys);
    const args = await to({ one: one.url, other: other.url }, JSON.parse(stdout) as string[]);
    const line = `ulimit -n 64; exec "$@"`;
    const command = [process.execPath, BUNDLE, ...args];
    const pushed = await nix.run("sh", ["-c", line, "sh", ...command], {
      // To measure coverage takes files of its own.
      env: { ...TOKEN, NODE_V8_COVERAGE: "" },
      allowFailure: true,
    });
    assert.equal(pushed.status, 0, pushed.stderr);
    assert.deepEqual([one.service.published.size, other.service.published.size], [150, 150]);
  });

  it("is reached at one cache while another takes no part of it, or answers nothing", async () => {
    const large = await Promise.all(
      [1, 2].map((n) => nix.add(`large-${n}`, randomBytes(36 << 20).toString("base64"))),
    );
    for (const operation of ["put", "info", "missing"] as const) {
      await using hanging = await startFakeCachix();
      await using healthy = await startFakeCachix();
      for (let count = 0; count < 100; count += 1) hanging.next(operation).handle(() => NEVER);
      const last = [healthy.next("complete"), healthy.next("complete")].map(
        ({ arrived }) => arrived,
      );
      const args = await to({ hanging: hanging.url, healthy: healthy.url }, large);
      const child = startHandpick(nix, args, { env: TOKEN });
      const ended = resultOf(child);
      await Promise.all(last);
      child.kill("SIGINT");
      assert.equal((await ended).status, 130);
      assert.equal(hanging.service.published.size, 0);
    }
  });

  it("comes at a cache that answers late as well", async () => {
    await using late = await startFakeCachix();
    await using early = await startFakeCachix();
    const answer = late.next("missing").hold();
    const args = await to({ early: early.url, late: late.url }, small);
    const pushing = handpick(nix, args, { env: TOKEN });
    await early.next("complete").arrived;
    answer();
    const { status, stdout, stderr } = await pushing;
    assert.equal(status, 0, stderr);
    assert.match(stdout, /^6 pushed .*\n$/);
    assert.equal(late.service.published.size, 3);
  });
});
