import assert from "node:assert/strict";
import { appendFile, mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { createTestNix, type TestNix, TOY_PACKAGES } from "../../test/nix.ts";
import { asOrdinaryUser, makeUnwritable } from "../../test/ordinary-user.ts";
import { tempDir } from "../../test/temp.ts";
import { parseSha256 } from "../nix/hash.ts";
import type { PathInfo } from "../nix/path-info.ts";
import { compareStorePaths, parseStorePath, type StorePath } from "../nix/store-path.ts";
import { openStore, type OpenStoreOptions } from "./open-store.ts";
import type { Store } from "./store.ts";

interface Way {
  readonly description: RegExp;
  readonly daemon: boolean;
  readonly options: (nix: TestNix) => OpenStoreOptions;
}

const WAYS: Readonly<Record<string, Way>> = {
  "a daemon and its database": {
    description: /^daemon 2\.\d+\S*, protocol 1\.\d\d$/,
    daemon: true,
    options: (nix) => ({ env: nix.env }),
  },
  "a daemon alone": {
    description: /^daemon /,
    daemon: true,
    options: (nix) => ({
      store: `unix://${nix.stateDir}/daemon-socket/socket`,
      env: { ...nix.env, NIX_STATE_DIR: "/nonexistent" },
    }),
  },
  "the database, since no daemon runs": {
    description: /^database$/,
    daemon: false,
    options: (nix) => ({ env: nix.env }),
  },
};

const ABSENT = `${"0".repeat(32)}-absent`;

/** The records that Nix itself prints for the closure of `paths`. */
async function nixSays(nix: TestNix, paths: readonly StorePath[]): Promise<PathInfo[]> {
  const { stdout } = await nix.run("nix-store", ["--query", "--requisites", ...paths]);
  const closure = stdout.trim().split("\n");
  const derivations = closure.filter((path) => path.endsWith(".drv"));
  const others = closure.filter((path) => !path.endsWith(".drv"));
  return [
    ...(await pathInfo(nix, ["--derivation", ...derivations])),
    ...(await pathInfo(nix, others)),
  ];
}

type Records = Readonly<Record<string, Readonly<Record<string, never>>>>;

async function pathInfo(nix: TestNix, options: readonly string[]): Promise<PathInfo[]> {
  const { stdout } = await nix.run("nix", ["path-info", "--json", ...options]);
  const parse = (path: string): StorePath => parseStorePath(path, nix.storeDir);
  const found: Records | readonly Records[string][] = JSON.parse(stdout);
  // Up to Nix 2.18 a list; since then by path, with null for what is absent.
  const records = Array.isArray(found)
    ? found
    : Object.entries(found).map(([path, record]) => ({ ...record, path }));
  return records.map((record) => ({
    path: parse(record["path"] ?? ""),
    narHash: parseSha256(record["narHash"] ?? ""),
    narSize: Number(record["narSize"]),
    references: Array.from<string, StorePath>(record["references"] ?? [], parse),
    deriver: record["deriver"] ? parse(record["deriver"]) : undefined,
    registrationTime: Number(record["registrationTime"]),
    ultimate: record["ultimate"] ?? false,
    signatures: record["signatures"] ?? [],
    contentAddress: record["ca"] ?? undefined,
  }));
}

function byPath(infos: Iterable<PathInfo>): [StorePath, PathInfo][] {
  return [...infos]
    .map((info): [StorePath, PathInfo] => [info.path, info])
    .toSorted(([a], [b]) => compareStorePaths(a, b));
}

function sorted(items: Iterable<StorePath>): StorePath[] {
  return [...items].toSorted(compareStorePaths);
}

for (const [name, way] of Object.entries(WAYS)) {
  describe(`A store reached by ${name}`, () => {
    let nix: TestNix;
    let store: Store;
    let outputs: StorePath[];
    let derivation: StorePath;
    const parse = (path: string): StorePath => parseStorePath(path, nix.storeDir);

    before(async () => {
      nix = await createTestNix();
      outputs = (await nix.build(TOY_PACKAGES)).map(parse);
      const app = outputs.find((path) => path.endsWith("-app-1")) ?? "";
      derivation = parse((await nix.run("nix-store", ["-q", "--deriver", app])).stdout.trim());
      await nix.run("nix-store", ["--generate-binary-cache-key", "test-1", "sec", "pub"]);
      await nix.run("nix", ["store", "sign", "-k", join(nix.dir, "sec"), app]);
      if (way.daemon) await nix.startDaemon();
      store = await openStore(way.options(nix));
    });

    after(async () => {
      await store.close();
      await nix[Symbol.asyncDispose]();
    });

    it("describes itself", () => {
      assert.match(store.description, way.description);
      assert.equal(store.storeDir, nix.storeDir);
      const [output = derivation] = outputs;
      assert.equal(store.physicalPath(output), output);
    });

    it("has the records that Nix has", async () => {
      const expected = byPath(await nixSays(nix, [...outputs, derivation]));
      const infos = await store.pathInfos(expected.map(([path]) => path));
      assert.deepEqual(byPath(infos.values()), expected);
      assert.ok([...infos.values()].some((info) => info.signatures[0]?.startsWith("test-1:")));
      assert.ok([...infos.values()].some((info) => info.contentAddress !== undefined));
    });

    it("finds the closure that Nix finds", async () => {
      const roots = [derivation, ...outputs.filter((path) => path.includes("-tool-"))];
      const closure = await store.closure(roots);
      assert.deepEqual(byPath(closure.values()), byPath(await nixSays(nix, roots)));
      assert.deepEqual(sorted(closure.keys()), sorted([...closure.values()].map((i) => i.path)));
    });

    it("leaves out what is not valid", async () => {
      const absent = parse(`${nix.storeDir}/${ABSENT}`);
      const asked = [absent, ...outputs, ...outputs];
      assert.deepEqual(sorted(await store.validPaths(asked)), sorted(outputs));
      assert.deepEqual(sorted((await store.pathInfos(asked)).keys()), sorted(outputs));
      assert.equal((await store.closure([absent])).size, 0);
      assert.deepEqual(
        [await store.validPaths([]), (await store.closure([])).size],
        [new Set(), 0],
      );
    });

    it("refuses paths of another store", async () => {
      const foreign = parseStorePath(`/elsewhere/${ABSENT}`, "/elsewhere");
      for (const asked of [store.validPaths([foreign]), store.closure([foreign])]) {
        await assert.rejects(asked, { code: "NOT_A_STORE_PATH", message: /"\/elsewhere\// });
      }
    });

    it("names the outputs of a derivation", async () => {
      const [out, dev] = ["-app-1", "-app-1-dev"].map((end) =>
        outputs.find((path) => path.endsWith(end)),
      );
      const expected = Object.entries({ dev, out });
      assert.deepEqual(await store.derivationOutputs(derivation), new Map(expected));
    });

    it("refuses to name outputs of what is no valid derivation", async () => {
      const absent = parse(`${nix.storeDir}/${ABSENT}.drv`);
      for (const path of [absent, ...outputs]) {
        await assert.rejects(store.derivationOutputs(path), { code: "PATH_NOT_VALID" });
      }
    });

    it("answers nothing once it is closed", async () => {
      const closed = await openStore(way.options(nix));
      await closed.close();
      const refusal = { code: "STORE_UNAVAILABLE", message: /it was closed$/ };
      await assert.rejects(closed.validPaths(outputs), refusal);
      await assert.rejects(closed.closure(outputs), refusal);
    });

    it("resolves links to store paths", async () => {
      const link = join(nix.dir, "result");
      await nix.run("ln", ["-s", derivation, link]);
      assert.equal(await store.resolve(link), derivation);
      await assert.rejects(store.resolve(nix.dir), { code: "NOT_A_STORE_PATH" });
    });

    it("keeps held paths, and what they need, through a garbage collection", async () => {
      const [lib, tool, data] = ["-lib-1", "-tool-1", "-data-1"].map(
        (end) => outputs.find((path) => path.endsWith(end)) ?? derivation,
      );
      assert.ok(lib && tool && data);
      const absent = parse(`${nix.storeDir}/${ABSENT}`);
      {
        await using held = await store.hold([tool, absent]);
        assert.deepEqual([...held.valid], [tool]);
        await nix.run("nix-store", ["--gc"]);
        assert.deepEqual(sorted(await store.validPaths([lib, tool, data])), sorted([lib, tool]));
      }
      await waitFor(async () => {
        await nix.run("nix-store", ["--gc"]);
        return (await store.validPaths([lib, tool])).size === 0;
      });
    });
  });
}

/** Tries again until it holds: a daemon notices some time after that a connection was closed. */
async function waitFor(condition: () => Promise<boolean>): Promise<void> {
  for (let left = 20; left > 0; left--) if (await condition()) return;
  assert.fail("The condition never came true");
}

describe("Store.newPaths()", () => {
  for (const [name, way] of Object.entries(WAYS)) {
    if (name === "a daemon alone") continue;

    it(`lists what became valid since, by ${name}`, async () => {
      await using nix = await createTestNix();
      if (way.daemon) await nix.startDaemon();
      await using store = await openStore(way.options(nix));
      const start = await store.newPaths();
      assert.deepEqual(start.paths, []);
      const added = [await nix.add("a", "1"), await nix.add("b", "2")];
      const next = await store.newPaths(start.mark);
      assert.deepEqual(next.paths, added);
      assert.deepEqual(await store.newPaths(next.mark), { mark: next.mark, paths: [] });
      assert.deepEqual((await store.newPaths(next.mark + 1000)).paths, added);
      await nix.run("nix-store", ["--gc"]);
      assert.equal((await store.newPaths()).mark, next.mark);
    });
  }

  it("is refused where there is only a daemon", async () => {
    await using nix = await createTestNix();
    await nix.startDaemon();
    const way = WAYS["a daemon alone"];
    await using store = await openStore(way?.options(nix));
    await assert.rejects(store.newPaths(), { code: "STORE_UNSUPPORTED" });
  });
});

describe("openStore()", () => {
  it("serves an ordinary user by the daemon", async () => {
    await using nix = await createTestNix();
    const path = parseStorePath(await nix.add("a", "1"), nix.storeDir);
    await nix.startDaemon();
    await asOrdinaryUser(async () => {
      await using store = await openStore({ env: nix.env });
      assert.match(store.description, /^daemon/);
      assert.deepEqual([...(await store.closure([path])).keys()], [path]);
      await using held = await store.hold([path]);
      assert.deepEqual([...held.valid], [path]);
    });
  });

  it("outlives the daemon it was opened with", async () => {
    await using nix = await createTestNix();
    const path = parseStorePath(await nix.add("a", "1"), nix.storeDir);
    const daemon = await nix.startDaemon();
    await using store = await openStore({ env: nix.env });
    await daemon.stop();
    await assert.rejects(store.hold([path]), { code: "STORE_UNAVAILABLE" });
    await nix.startDaemon();
    await using held = await store.hold([path]);
    assert.deepEqual([...held.valid], [path]);
  });

  it("says so when the daemon refuses an ordinary user", async () => {
    await using nix = await createTestNix();
    await appendFile(join(nix.dir, "etc/nix.conf"), "allowed-users = somebody-else\n");
    await nix.startDaemon();
    await asOrdinaryUser(() =>
      assert.rejects(openStore({ env: nix.env }), {
        code: "STORE_UNAVAILABLE",
        message: /refused this user/,
      }),
    );
  });

  it("serves an ordinary user without daemon, though Nix has taken the WAL away", async () => {
    await using nix = await createTestNix();
    const path = parseStorePath(await nix.add("a", "1"), nix.storeDir);
    await makeUnwritable(join(nix.stateDir, "db"));
    await asOrdinaryUser(async () => {
      await using store = await openStore({ env: nix.env });
      assert.equal(store.description, "database");
      assert.deepEqual([...(await store.closure([path])).keys()], [path]);
      await using held = await store.hold([path]);
      assert.deepEqual([...held.valid], [path]);
    });
  });

  it("reads a chroot store, whose paths have two names", async () => {
    await using nix = await createTestNix({ root: true });
    const path = parseStorePath(await nix.add("a", "1"));
    for (const store of [`${nix.dir}/root`, `local?root=${nix.dir}/root`, undefined]) {
      await using opened = await openStore({ store, env: nix.env });
      assert.equal(opened.storeDir, "/nix/store");
      assert.deepEqual([...(await opened.pathInfos([path])).keys()], [path]);
      const file = opened.physicalPath(path);
      assert.equal(await readFile(file, "utf8"), "1");
      assert.equal(await opened.resolve(file), path);
      assert.equal(await opened.resolve(path), path);
      await using held = await opened.hold([path]);
      assert.deepEqual([...held.valid], [path]);
    }
    const { socket } = await nix.startDaemon();
    const uri = `unix://${socket}?root=${nix.dir}/root`;
    await using opened = await openStore({ store: uri, env: nix.env });
    assert.deepEqual([...(await opened.closure([path])).keys()], [path]);
    assert.equal(await readFile(opened.physicalPath(path), "utf8"), "1");
  });

  it("opens the database where the socket's file is left of a daemon that ended", async () => {
    await using nix = await createTestNix();
    const folder = join(nix.stateDir, "daemon-socket");
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, "socket"), "");
    await using store = await openStore({ env: nix.env });
    assert.equal(store.description, "database");
  });

  it("does not go around a daemon that was asked for", async () => {
    await using nix = await createTestNix();
    await assert.rejects(openStore({ store: "daemon", env: nix.env }), {
      code: "STORE_UNAVAILABLE",
      hint: /Start nix-daemon/,
    });
  });

  it("explains a socket path that the system finds too long", async () => {
    const store = `unix:///${"long/".repeat(30)}socket`;
    await assert.rejects(openStore({ store, env: {} }), { code: "STORE_UNAVAILABLE" });
  });

  it("says that there is no Nix", async () => {
    await using temp = await tempDir();
    const env = { NIX_STORE_DIR: join(temp.dir, "store"), NIX_STATE_DIR: join(temp.dir, "var") };
    await assert.rejects(openStore({ env }), { code: "STORE_UNAVAILABLE", hint: /Install Nix/ });
  });

  it("does without a database that it cannot open beside the daemon", async () => {
    await using nix = await createTestNix();
    const path = parseStorePath(await nix.add("a", "1"), nix.storeDir);
    const { socket } = await nix.startDaemon();
    const stateDir = join(nix.dir, "other");
    await mkdir(join(stateDir, "daemon-socket"), { recursive: true });
    await symlink(socket, join(stateDir, "daemon-socket/socket"));
    await using store = await openStore({ env: { ...nix.env, NIX_STATE_DIR: stateDir } });
    assert.deepEqual([...(await store.closure([path])).keys()], [path]);
  });

  it("asks the daemon for the closure of roots that the database lacks", async () => {
    await using nix = await createTestNix();
    await using other = await createTestNix();
    const path = parseStorePath(await nix.add("a", "1"), nix.storeDir);
    await nix.startDaemon();
    await other.add("a", "1");
    // A container may show the socket of its host beside a database of its own.
    const folder = join(other.stateDir, "daemon-socket");
    await mkdir(folder, { recursive: true });
    await symlink(join(nix.stateDir, "daemon-socket/socket"), join(folder, "socket"));
    const env = { NIX_STORE_DIR: nix.storeDir, NIX_STATE_DIR: other.stateDir };
    await using store = await openStore({ env });
    assert.deepEqual([...(await store.closure([path])).keys()], [path]);
  });

  it("ends with the reason of its signal", async () => {
    const reason = new Error("Interrupted");
    await assert.rejects(openStore({ env: {}, signal: AbortSignal.abort(reason) }), reason);
  });
});
