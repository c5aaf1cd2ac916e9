import assert from "node:assert/strict";
import { mkdir, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { handpick, type Result, startServe } from "./handpick.ts";
import { nginxSkip, startNginx } from "./nginx.ts";
import { SyncRig } from "./sync/sync-rig.ts";
import { S3_ENV, startVersitygw, whyNoVersitygw } from "./versitygw.ts";

/** A cache whose files a test can reach. */
interface Kept extends AsyncDisposable {
  readonly url: string;
  readonly dir: string;
}

const KINDS: readonly {
  readonly kind: string;
  readonly skip: string | false;
  /** Why Nix cannot read it here. */
  readonly unreadable?: string;
  readonly open: (rig: SyncRig) => Promise<Kept>;
}[] = [
  {
    kind: "file",
    skip: false,
    async open({ nix }) {
      const dir = join(nix.dir, "folder");
      return { url: `file://${dir}`, dir, async [Symbol.asyncDispose]() {} };
    },
  },
  { kind: "http", skip: nginxSkip(), open: () => startNginx() },
  {
    kind: "s3",
    skip: whyNoVersitygw,
    unreadable: "Debian builds Nix 2.8 without S3",
    async open() {
      const server = await startVersitygw();
      const url = await server.bucket("cache");
      return {
        url,
        dir: join(server.dir, "cache"),
        [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
      };
    },
  },
];

/** The files of the path that is damaged. */
interface Files {
  readonly narInfo: string;
  readonly nar: string;
  readonly text: string;
  /** The narinfo of another path. */
  readonly other: string;
}

/** What has a content address needs no signature. */
const withoutAddress = (text: string): string => text.replace(/^CA: .*\n/m, "");

const DAMAGES: readonly {
  readonly name: string;
  readonly code: string;
  readonly args?: readonly string[];
  readonly damage: (files: Files) => Promise<void>;
}[] = [
  { name: "narinfo removed", code: "missing", damage: ({ narInfo }) => rm(narInfo) },
  { name: "narinfo emptied", code: "damaged", damage: ({ narInfo }) => writeFile(narInfo, "") },
  {
    name: "narinfo of another path",
    code: "damaged",
    damage: ({ narInfo, other }) => writeFile(narInfo, other),
  },
  {
    name: "narinfo edited",
    code: "untrusted",
    damage: ({ narInfo, text }) =>
      writeFile(narInfo, withoutAddress(text).replace(/^NarSize: \d+/m, "NarSize: 7")),
  },
  {
    name: "narinfo signed by somebody else",
    code: "untrusted",
    damage: ({ narInfo, text }) =>
      writeFile(narInfo, withoutAddress(text).replace(/^Sig: usb-1:/m, "Sig: me-1:")),
  },
  {
    name: "signature removed",
    code: "unsigned",
    damage: ({ narInfo, text }) =>
      writeFile(narInfo, withoutAddress(text).replace(/^Sig: .*\n/m, "")),
  },
  { name: "NAR removed", code: "nar-missing", damage: ({ nar }) => rm(nar) },
  { name: "NAR cut", code: "nar-size", damage: ({ nar }) => truncate(nar, 20) },
  {
    name: "NAR replaced by one of its size",
    code: "nar-damaged",
    args: ["--deep"],
    async damage({ nar }) {
      const bytes = await readFile(nar);
      bytes.fill(0, 30, 40);
      await writeFile(nar, bytes);
    },
  },
];

for (const { kind, skip, unreadable, open } of KINDS) {
  describe(`handpick verify of a cache of ${kind}`, { timeout: 180_000, skip }, () => {
    let rig: SyncRig;
    let kept: Kept;
    let app: string;

    before(async () => {
      rig = await SyncRig.create();
      kept = await open(rig);
      const key = join(rig.nix.dir, "key");
      await run("keygen", "--out", key, "usb-1");
      const table = [`url = "${kept.url}"`, `signing-key-file = "${key}"`, "upstreams = []"];
      await writeFile(join(rig.nix.dir, "handpick.toml"), `[caches.mine]\n${table.join("\n")}\n`);
      ({ app } = await rig.select("home", [{ packages: ["app"] }]));
      assert.equal((await run("push", app)).status, 0);
    });
    after(async () => {
      await kept[Symbol.asyncDispose]();
      await rig[Symbol.asyncDispose]();
    });

    const run = (...args: readonly string[]): Promise<Result> =>
      handpick(rig.nix, args, { env: { ...rig.env, ...S3_ENV } });

    async function filesOf(name: string): Promise<Files> {
      const names = (await readdir(kept.dir)).filter((one) => one.endsWith(".narinfo"));
      const all = await Promise.all(
        names.map(async (file) => ({ file, text: await readFile(join(kept.dir, file), "utf8") })),
      );
      const found = all.find(({ text }) => text.includes(`-${name}\nURL`));
      const other = all.find((one) => one !== found);
      assert.ok(found !== undefined && other !== undefined, names.join());
      const nar = /^URL: (.*)$/m.exec(found.text)?.[1] ?? "";
      return {
        narInfo: join(kept.dir, found.file),
        nar: join(kept.dir, nar),
        text: found.text,
        other: other.text,
      };
    }

    it("finds all served, and proves the NARs", async () => {
      const { status, stdout, stderr } = await run("verify", "--deep", "mine", app);
      assert.deepEqual([status, stderr], [0, ""]);
      assert.equal(stdout, "mine: served: 2 paths from the cache, 2 NARs read and right\n");
    });

    it("tells which path cannot be selected, and takes a folder's name for that of a cache", async () => {
      await mkdir(join(rig.nix.dir, "mine"), { recursive: true });
      const found = await run("verify", "mine", app, "./nothing", "--json");
      assert.equal(found.status, 1, found.stderr);
      const { caches, rejected } = JSON.parse(found.stdout);
      assert.deepEqual([caches.length, caches[0].unserved], [1, []]);
      assert.deepEqual(
        rejected.map(({ input }: { input: string }) => input),
        ["./nothing"],
      );
      assert.match(found.stderr, /Cannot select ".\/nothing": it does not exist/);
      const pushed = await run("push", "mine", app);
      assert.equal(pushed.status, 2, pushed.stderr);
      assert.match(pushed.stderr, /"mine": it is a cache, and not a path/);
    });

    it(
      "has Nix fetch it into an empty store, and tells what Nix says",
      { skip: unreadable ?? false },
      async () => {
        const { status, stdout, stderr } = await run("verify", "--realise", "mine", app);
        assert.equal(status, 0, stdout + stderr);
        assert.match(stdout, /^mine: served: 2 paths from the cache, fetched by Nix\n$/);
        const { narInfo, text } = await filesOf("lib-1");
        await rm(narInfo);
        const broken = await run("verify", "--realise", "mine", app);
        await writeFile(narInfo, text);
        assert.equal(broken.status, 1);
        assert.match(broken.stdout, /^ {2}not fetched by Nix: [^]*-lib-1/m);
      },
    );

    it("says which of the inputs it cannot look at, and fails", async () => {
      const gone = join(rig.nix.dir, "gone");
      const { status, stdout, stderr } = await run("verify", "mine", app, gone);
      assert.deepEqual([status, stdout], [1, "mine: served: 2 paths from the cache\n"]);
      assert.match(stderr, /Cannot select "[^"]*gone"/);
      const told = JSON.parse((await run("verify", "--json", "mine", app, gone)).stdout);
      assert.deepEqual(
        told.rejected.map(({ input }: { input: string }) => input),
        [gone],
      );
    });

    it("finds and repairs a cache without nix-cache-info, which Nix does not read", async () => {
      await rm(join(kept.dir, "nix-cache-info"));
      const found = await run("verify", "mine", app);
      assert.equal(found.status, 1, found.stderr);
      assert.match(found.stdout, /^mine: 0 of 1 served[^]*no nix-cache-info \(and 1 more path\)$/m);
      const repaired = await run("verify", "--repair", "mine", app);
      assert.equal(repaired.status, 0, repaired.stdout + repaired.stderr);
    });

    for (const { name, code, args = [], damage } of DAMAGES) {
      it(`finds and repairs: ${name}`, async () => {
        await damage(await filesOf("lib-1"));
        const found = await run("verify", "--json", ...args, "mine", app);
        assert.equal(found.status, 1, found.stderr);
        const [verdict] = JSON.parse(found.stdout).caches;
        const [{ pick, path, chain, ...unserved }] = verdict.unserved;
        assert.deepEqual(unserved, { code, others: 0 });
        assert.deepEqual([pick.name, chain], ["app", [app, path]]);
        assert.match(path, /-lib-1$/);
        const repaired = await run("verify", "--repair", ...args, "mine", app);
        assert.equal(repaired.status, 0, repaired.stdout + repaired.stderr);
        assert.match(repaired.stdout, /^mine: served: 2 paths/m);
      });
    }
  });
}

describe("handpick verify of a private cache", { timeout: 120_000 }, () => {
  it("reads with the token, which stands in no output, and has Nix read with it", async () => {
    await using rig = await SyncRig.create();
    await using served = await startServe(rig.nix, { args: ["--private"] });
    const { app } = await rig.select("home", [{ packages: ["app"] }]);
    const temporary = join(rig.nix.dir, "temporary");
    await mkdir(temporary);
    const run = (...args: readonly string[]): Promise<Result> =>
      handpick(rig.nix, args, { env: { ...rig.env, TMPDIR: temporary } });
    assert.equal((await run("push", app)).status, 0);
    const found = await run("verify", "--deep", "--realise", "mine", app);
    assert.equal(found.status, 0, found.stdout + found.stderr);
    assert.match(found.stdout, /^mine: served: 2 paths from the cache, 2 NARs read .* by Nix$/m);
    assert.equal((found.stdout + found.stderr).includes(served.token), false);
    assert.deepEqual(await readdir(temporary), []);
  });
});

describe(
  "handpick verify of a cache with upstreams",
  { timeout: 120_000, skip: nginxSkip() },
  () => {
    it("counts what they serve, and says whose keys nobody knows", async () => {
      await using rig = await SyncRig.create();
      await using upstream = await startNginx();
      const { dir } = rig.nix;
      const key = join(dir, "key");
      const run = (...args: readonly string[]): Promise<Result> =>
        handpick(rig.nix, args, { env: rig.env });
      await run("keygen", "--out", key, "usb-1");
      const tables = `
      [caches.up]
      url = "${upstream.url}"
      signing-key-file = "${key}"
      upstreams = []
      [caches.disk]
      url = "file://${dir}/folder"
      public-keys = []
      upstreams = ["${upstream.url}"]`;
      await writeFile(join(dir, "handpick.toml"), tables);
      await mkdir(join(dir, "folder"));
      const { app } = await rig.select("home", [{ packages: ["app"] }]);
      assert.equal((await run("push", "--to", "up", app)).status, 0);
      const { status, stdout, stderr } = await run("verify", "disk", app);
      assert.equal(status, 0, stdout + stderr);
      assert.equal(stdout, "disk: served: 0 paths from the cache, 2 from upstreams\n");
      assert.match(stderr, /^handpick: disk: of http:\S+ any signature counted/m);
    });
  },
);

describe("handpick verify --flake", { timeout: 120_000 }, () => {
  it("says whether a fresh machine would build a package that is not here", async () => {
    await using rig = await SyncRig.create();
    const { dir } = rig.nix;
    const flake = join(dir, "flake");
    await mkdir(flake);
    await mkdir(join(dir, "disk"));
    await writeFile(join(flake, "flake.nix"), FLAKE);
    await writeFile(join(dir, "handpick.toml"), `[caches.usb]\nurl = "file://${dir}/disk"\n`);
    const run = (...args: readonly string[]): Promise<Result> =>
      handpick(rig.nix, args, { env: rig.env });
    const name = `path:${flake}#tool`;
    const before = await run("verify", "usb", "--flake", name);
    assert.equal(before.status, 1, before.stderr);
    assert.match(
      before.stdout,
      /usb: 0 of 1 served[^]*not served {2}path:\S+#tool: tool is not there/,
    );
    assert.equal((await run("push", name)).status, 0);
    const after = await run("verify", "usb", "--flake", name, "--public-key", PUBLIC_KEY);
    // Nobody signed it.
    assert.match(after.stdout, /tool has no signature\n/);
    const refused = await run("verify", "--flake", name, "--repair");
    assert.deepEqual([refused.status, /Cannot take --repair/.test(refused.stderr)], [2, true]);
  });
});

const PUBLIC_KEY = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=";
const FLAKE = `{
  outputs = _: {
    tool = derivation {
      name = "tool";
      system = "x86_64-linux";
      builder = "/bin/sh";
      args = [ "-c" "echo tool > $out" ];
    };
  };
}
`;
