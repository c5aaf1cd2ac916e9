import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { watch } from "node:fs";
import { readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, beforeEach, describe, it } from "node:test";

import { createFileCache } from "../src/cache/file/file-cache.ts";
import { parseNarInfo } from "../src/nix/narinfo.ts";
import { nameOf, type StorePath } from "../src/nix/store-path.ts";
import { BUNDLE, handpick, type Result, resultOf, startHandpick } from "./handpick.ts";
import { createTestNix } from "./nix.ts";
import { publishSample, sampleUpload } from "./sample-upload.ts";
import { type Selected, SyncRig } from "./sync/sync-rig.ts";
import { S3_ENV, startVersitygw, whyNoVersitygw } from "./versitygw.ts";

/** A cache whose files a test can reach, new each time. */
interface Kept {
  readonly url: string;
  readonly dir: string;
  /** Where any Nix reads it. */
  readonly substituter: string;
}

interface Kind extends AsyncDisposable {
  open(): Promise<Kept>;
}

const SAFE = ["--keep-wanted", "--this-is-the-only-writer"];
const NOW = [...SAFE, "--keep-days", "0", "--yes"];

const KINDS: readonly {
  readonly kind: string;
  readonly skip: string | false;
  readonly start: (rig: SyncRig) => Promise<Kind>;
}[] = [
  {
    kind: "file",
    skip: false,
    async start({ nix }) {
      let count = 0;
      return {
        async open() {
          const dir = join(nix.dir, `folder-${count++}`);
          return { url: `file://${dir}`, dir, substituter: `file://${dir}` };
        },
        async [Symbol.asyncDispose]() {},
      };
    },
  },
  {
    kind: "s3",
    skip: whyNoVersitygw,
    async start() {
      const server = await startVersitygw();
      let count = 0;
      return {
        async open() {
          const name = `cache-${count++}`;
          const url = await server.bucket(name, { everybody: "read" });
          return { url, dir: join(server.dir, name), substituter: `${server.url}/${name}` };
        },
        [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
      };
    },
  },
];

/** The files of a cache, below its folder. */
async function filesIn(dir: string): Promise<string[]> {
  const found = await readdir(dir, { recursive: true, withFileTypes: true });
  return found
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(dir.length + 1));
}

/** Names of the paths that readers see, each with its NAR and all that it refers to. */
async function served(dir: string): Promise<string[]> {
  const names = await filesIn(dir);
  const narInfos = await Promise.all(
    names
      .filter((name) => name.endsWith(".narinfo"))
      .map(async (name) => parseNarInfo(await readFile(join(dir, name), "utf8"))),
  );
  const seen = new Set<StorePath>(narInfos.map(({ storePath }) => storePath));
  for (const { storePath, references, url } of narInfos) {
    assert.ok(names.includes(url), `the NAR of ${storePath}`);
    for (const reference of references) assert.ok(seen.has(reference), `${reference} is there`);
  }
  return narInfos.map(({ storePath }) => nameOf(storePath)).toSorted();
}

/** Waits until a name in a folder changes. */
async function changed(dir: string): Promise<void> {
  const watcher = watch(dir);
  await once(watcher, "change");
  watcher.close();
}

for (const { kind, skip, start } of KINDS) {
  describe(`handpick prune of a cache of ${kind}`, { timeout: 180_000, skip }, () => {
    let rig: SyncRig;
    let caches: Kind;
    let kept: Kept;
    let publicKey: string;
    let toys: Selected;

    before(async () => {
      rig = await SyncRig.create();
      caches = await start(rig);
      const key = join(rig.nix.dir, "key");
      publicKey = (await run("keygen", "--out", key, "usb-1")).stdout.trim();
      toys = await rig.declare("home", [{ packages: ["app"] }]);
    });
    beforeEach(async () => {
      kept = await caches.open();
      const key = join(rig.nix.dir, "key");
      const lines = [`url = "${kept.url}"`, `signing-key-file = "${key}"`, "upstreams = []"];
      const table = `[caches.mine]\n${[...lines, "listings = true"].join("\n")}\n`;
      await writeFile(join(rig.nix.dir, "handpick.toml"), table);
      await done("push", toys.tool, toys.data);
      if (kind === "s3") await age();
    });
    after(async () => {
      await caches[Symbol.asyncDispose]();
      await rig[Symbol.asyncDispose]();
    });

    const run = (...args: readonly string[]): Promise<Result> =>
      handpick(rig.nix, args, { env: { ...rig.env, ...S3_ENV } });
    const done = async (...args: readonly string[]): Promise<Result> => {
      const result = await run(...args);
      assert.equal(result.status, 0, `${args.join(" ")}: ${result.stderr}${result.stdout}`);
      return result;
    };
    /** Makes all that a server has, which goes by these times, two months old. */
    async function age(): Promise<void> {
      const old = Date.now() / 1000 - 60 * 24 * 60 * 60;
      for (const name of await filesIn(kept.dir)) await utimes(join(kept.dir, name), old, old);
    }

    it("shows what would go, and removes nothing unasked", async () => {
      const dry = await done("prune", "mine", ...SAFE, "--keep-days", "0", "--dry-run");
      assert.match(
        dry.stdout,
        /^mine: 2 wanted, 0 kept besides .*, 2 to remove \(.* in 6 files\)$/m,
      );
      assert.match(dry.stdout, /^ {2}kept for: home \(1 pick, .*state\)$/m);
      const gone = Array.from(
        dry.stdout.matchAll(/^ {2}remove +\S+ B {2}(\S+)$/gm),
        ([, name]) => name,
      );
      assert.deepEqual(new Set(gone), new Set(["data-1", "tool-1"]));
      const refused = await run("prune", "mine", ...SAFE, "--keep-days", "0");
      assert.deepEqual([refused.status, /--yes/.test(refused.stderr)], [2, true], refused.stderr);
      assert.equal(refused.stdout, dry.stdout);
      assert.deepEqual(await served(kept.dir), ["app-1", "data-1", "lib-1", "tool-1"]);
    });

    it("removes what nobody wants, and Nix gets the rest from it", async () => {
      const { stdout } = await done("prune", "mine", ...NOW);
      assert.match(stdout, /^mine: 2 removed \(.* in 6 files\)$/m);
      assert.deepEqual(await served(kept.dir), ["app-1", "lib-1"]);
      const left = await filesIn(kept.dir);
      const count = (end: string): number => left.filter((name) => name.endsWith(end)).length;
      assert.deepEqual([".narinfo", ".nar.zst", ".ls"].map(count), [2, 2, 2]);
      await using reader = await createTestNix({ root: true });
      const substituters = [`substituters = ${kept.substituter}`, "require-sigs = true"];
      const conf = [...substituters, `trusted-public-keys = ${publicKey}`].join("\n");
      await reader.run("nix-store", ["--realise", toys.app], { env: { NIX_CONFIG: conf } });
      assert.match((await done("verify", "mine")).stdout, /served: 2 paths/);
      assert.match((await done("prune", "mine", ...NOW)).stdout, /nothing was removed/);
      // What is gone is known to be gone.
      await done("push", toys.tool);
      assert.deepEqual(await served(kept.dir), ["app-1", "lib-1", "tool-1"]);
    });

    it("keeps what is young, and what manifests of other machines want", async () => {
      const { manifest } = await rig.select("laptop", [{ packages: ["data"] }]);
      const copy = join(rig.nix.dir, "laptop.json");
      await writeFile(copy, await readFile(join(rig.nix.dir, "root", manifest)));
      const days = ["--keep-days", "0", "--yes", "--json"];
      const args = ["prune", "mine", "--keep-wanted", ...days, "--manifests", copy];
      const { removed, kept: stays } = JSON.parse((await done(...args)).stdout);
      assert.deepEqual([removed.entries.length, stays], [1, { wanted: 3, others: 0, faulty: [] }]);
      assert.deepEqual(await served(kept.dir), ["app-1", "data-1", "lib-1"]);
      await done("push", toys.tool);
      assert.match(
        (await done("prune", "mine", ...SAFE, "--yes")).stdout,
        kind === "s3" ? /1 to remove/ : /0 to remove/,
      );
      assert.ok((await served(kept.dir)).includes("tool-1"));
    });

    it("keeps what is pushed beside it, and is whole after it", async () => {
      const beside = await rig.nix.add("beside", `beside ${kept.url}`);
      const pruning = run("prune", "mine", ...NOW);
      await changed(kept.dir);
      const [pruned, pushed] = await Promise.all([pruning, run("push", beside)]);
      assert.deepEqual([pruned.status, pushed.status], [0, 0], pruned.stderr + pushed.stderr);
      assert.deepEqual(await served(kept.dir), ["app-1", "beside", "lib-1"]);
    });

    it("is refused where it would not know what to keep", async () => {
      for (const [args, message] of [
        [["mine", "--this-is-the-only-writer"], /--keep-wanted/],
        [["mine", "--keep-wanted"], /other machines/],
        [["mine", ...SAFE, "--keep-days", "-1"], /expected a number/],
        [["mine", "--keep-wanted", "--manifests", "handpick.toml"], /it is no manifest/],
        [["mine", "--keep-wanted", "--manifests", "nowhere.json"], /does not exist/],
        [["mine", "--keep-wanted", "--manifests", "."], /it is a folder/],
        [["other", ...SAFE], /Cannot find cache "other"/],
      ] as const) {
        const { status, stderr } = await run("prune", ...args);
        assert.equal(status, 2, stderr);
        assert.match(stderr, message);
      }
      await writeFile(join(rig.state, "wanted/broken"), "no link");
      const broken = await run("prune", "mine", ...NOW);
      await rm(join(rig.state, "wanted/broken"));
      assert.equal(broken.status, 2);
      assert.match(broken.stderr, /Cannot use selection "broken"/);
      const nothing = await handpick(rig.nix, ["prune", "mine", ...NOW], {
        env: { ...S3_ENV, HANDPICK_STATE_DIR: join(rig.nix.dir, "other-state") },
      });
      assert.deepEqual([nothing.status, /nothing is wanted/.test(nothing.stderr)], [2, true]);
      assert.deepEqual(await served(kept.dir), ["app-1", "data-1", "lib-1", "tool-1"]);
    });
  });
}

describe("handpick prune", { timeout: 120_000 }, () => {
  let rig: SyncRig;
  let dir: string;

  before(async () => {
    rig = await SyncRig.create();
    await rig.declare("home", [{ packages: ["lib"] }]);
  });
  beforeEach(async () => {
    dir = join(rig.nix.dir, "folder");
    await rm(dir, { recursive: true, force: true });
    await configure(`url = "file://${dir}"`);
  });
  after(() => rig[Symbol.asyncDispose]());

  const configure = (line: string): Promise<void> =>
    writeFile(join(rig.nix.dir, "handpick.toml"), `[caches.mine]\n${line}\n`);

  it("leaves a whole cache when it is killed, and goes on the next time", async () => {
    await using cache = createFileCache({ name: "mine", dir });
    let before: StorePath | undefined;
    for (let number = 0; number < 150; number++) {
      const references = before === undefined ? [] : [before];
      const sample = sampleUpload({ name: `n${number}`, references });
      await publishSample(cache, sample);
      before = sample.storePath;
    }
    const child = startHandpick(rig.nix, ["prune", "mine", ...NOW], { env: rig.env });
    const ended = resultOf(child);
    // The first names that change are those of narinfos that go.
    await changed(dir);
    child.kill("SIGKILL");
    assert.equal((await ended).status, -1);
    const left = await served(dir);
    assert.ok(left.length < 150, `${left.length} left`);
    const again = await handpick(rig.nix, ["prune", "mine", ...NOW], { env: rig.env });
    assert.equal(again.status, 0, again.stderr);
    assert.deepEqual(await served(dir), []);
  });

  it("stops within two seconds when it is interrupted", async () => {
    await using cache = createFileCache({ name: "mine", dir });
    for (let number = 0; number < 100; number++) {
      await publishSample(cache, sampleUpload({ name: `n${number}` }));
    }
    const child = startHandpick(rig.nix, ["prune", "mine", ...NOW], { env: rig.env });
    const ended = resultOf(child);
    await changed(dir);
    child.kill("SIGINT");
    const startMs = performance.now();
    const { status, stderr } = await ended;
    assert.ok(performance.now() - startMs < 2500);
    assert.equal(status, 130, stderr);
    assert.match(
      stderr,
      /^handpick: mine: ended after \d+ of 200 files; the cache is whole\nhandpick: interrupted\n$/,
    );
    await served(dir);
  });

  it("keeps what manifests want that is not here, as narinfos tell, and nothing for what has ended", async () => {
    const selected = await rig.select("laptop", [{ packages: ["tool"] }], "2");
    const copy = join(rig.nix.dir, "laptop.json");
    await writeFile(copy, await readFile(join(rig.nix.dir, "root", selected.manifest)));
    await rig.want("ended", selected.manifest);
    const pushing = ["push", selected.tool, selected.data];
    const pushed = await handpick(rig.nix, pushing, { env: rig.env });
    assert.equal(pushed.status, 0, pushed.stderr);
    await rig.collectAll([selected.tool, selected.app, selected.lib, selected.data]);
    // The first collection took the selection of the machine as well, which is declared anew.
    await rig.declare("home", [{ packages: ["lib"] }]);
    const args = ["prune", "mine", "--keep-wanted", "--keep-days", "0", "--yes"];
    const kept = await handpick(rig.nix, [...args, "--manifests", copy], { env: rig.env });
    assert.equal(kept.status, 0, kept.stderr);
    assert.match(kept.stderr, /^handpick: selection "ended" has ended, since its manifest is gone/);
    assert.deepEqual(await served(dir), ["app-2", "lib-2", "tool-2"]);
    const gone = await handpick(rig.nix, [...args, "--this-is-the-only-writer"], { env: rig.env });
    assert.equal(gone.status, 0, gone.stderr);
    assert.deepEqual(await served(dir), []);
    await rig.withdraw("ended");
  });

  it("keeps what builds that wait to be pushed need", async () => {
    const { app, data } = await rig.select("built", [{ packages: ["app"] }], "3");
    const pushed = await handpick(rig.nix, ["push", app, data], { env: rig.env });
    assert.equal(pushed.status, 0, pushed.stderr);
    await rig.sync();
    rig.ledger(`INSERT INTO builds (path, at) VALUES ('${app}', ${Date.now()})`);
    const pruned = await handpick(rig.nix, ["prune", "mine", ...NOW], { env: rig.env });
    assert.equal(pruned.status, 0, pruned.stderr);
    assert.ok((await served(dir)).includes("app-3"));
    assert.ok(!(await served(dir)).includes("data-3"));
  });

  it("names the garbage collection of caches of other kinds", async () => {
    for (const [line, message] of [
      ['url = "cachix://acme"', /Cachix has a garbage collection of its own/],
      ['url = "attic://cache.example.org/acme"', /Attic has a garbage collection of its own/],
      ['url = "https://cache.example.org/nix"', /prune the folder behind it/],
    ] as const) {
      await configure(line);
      const { status, stderr } = await handpick(rig.nix, ["prune", "mine", ...NOW], {
        env: rig.env,
      });
      assert.equal(status, 2, stderr);
      assert.match(stderr, message);
    }
  });

  it("asks on a terminal, and takes yes only for yes", async () => {
    await using cache = createFileCache({ name: "mine", dir });
    await publishSample(cache, sampleUpload({ name: "old" }));
    for (const [answer, count] of [
      ["", 1],
      ["n", 1],
      ["yes", 0],
    ] as const) {
      const words = [process.execPath, BUNDLE, "prune", "mine", ...SAFE, "--keep-days", "0"];
      const line = words.map((word) => `'${word}'`).join(" ");
      const child = spawn("script", ["--quiet", "--return", "--command", line, "/dev/null"], {
        cwd: rig.nix.dir,
        env: {
          ...rig.nix.env,
          ...rig.env,
          HANDPICK_CONFIG: join(rig.nix.dir, "handpick.toml"),
          TERM: "xterm",
          SHELL: "/bin/sh",
        },
        stdio: ["pipe", "pipe", "inherit"],
      });
      let screen = "";
      child.stdout.on("data", (chunk: Buffer) => {
        const isAsked = screen.includes("[y/N]");
        screen += chunk.toString();
        if (!isAsked && screen.includes("[y/N]")) child.stdin.write(`${answer}\n`);
      });
      const [status] = (await once(child, "close")) as [number | null];
      assert.equal(status, 0, screen);
      assert.equal((await served(dir)).length, count, screen);
    }
  });

  it("finds a cache on a disk that is away neither empty nor to be made", async () => {
    await configure(`url = "file://${rig.nix.dir}/away/cache"`);
    const { status, stderr } = await handpick(rig.nix, ["prune", "mine", ...NOW], { env: rig.env });
    assert.deepEqual([status, /Mount the disk/.test(stderr)], [1, true], stderr);
    await assert.rejects(stat(join(rig.nix.dir, "away")), { code: "ENOENT" });
  });
});
