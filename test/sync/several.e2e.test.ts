import assert from "node:assert/strict";
import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";

import { handpick } from "../handpick.ts";
import { SyncRig } from "./sync-rig.ts";

/** Names the narinfos of a folder that is a cache; none if it is not there. */
async function narInfosIn(dir: string): Promise<string[]> {
  const names = await readdir(dir).catch(() => []);
  return names.filter((name) => name.endsWith(".narinfo"));
}

/** A machine with caches that are folders of it, named by what is in the configuration. */
class FolderRig implements AsyncDisposable {
  readonly sync: SyncRig;

  private constructor(sync: SyncRig) {
    this.sync = sync;
  }

  static async create(): Promise<FolderRig> {
    return new FolderRig(await SyncRig.create());
  }

  dir(name: string): string {
    return join(this.sync.nix.dir, name);
  }

  /** @param tables The folder, and more TOML, of each cache by its name. */
  async configure(tables: Readonly<Record<string, string>>): Promise<void> {
    const text = Object.entries(tables).map(([name, more]) => {
      const [folder = "", ...lines] = more.split("\n");
      return `[caches.${name}]\nurl = "file://${this.dir(folder)}"\n${lines.join("\n")}\n`;
    });
    await writeFile(join(this.sync.nix.dir, "handpick.toml"), text.join(""));
  }

  /** The caches that the ledger knows paths of. */
  known(): string[] {
    const rows = this.sync.ledger("SELECT DISTINCT cache FROM entries ORDER BY cache");
    return (rows as { readonly cache: string }[]).map(({ cache }) => cache);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sync[Symbol.asyncDispose]();
  }
}

describe("caches of a machine over time", { timeout: 120_000 }, () => {
  it("fills one that is added, forgets one that is removed, and sends nothing again to one that is renamed", async () => {
    await using rig = await FolderRig.create();
    const { sync } = rig;
    await rig.configure({ one: "a" });
    await sync.declare("home", [{ packages: ["tool", "data"] }]);
    assert.equal((await sync.synced()).pushed, 4);

    await rig.configure({ one: "a", two: "b" });
    assert.equal((await sync.synced()).pushed, 4);
    assert.equal((await narInfosIn(rig.dir("b"))).length, 4);

    await rig.configure({ two: "b" });
    assert.equal((await sync.synced()).pushed, 0);
    assert.deepEqual(rig.known(), ["two"]);
    assert.equal((await narInfosIn(rig.dir("a"))).length, 4, "what is there stays there");

    const before = await stat(join(rig.dir("b"), "nar"));
    await rig.configure({ disk: "b" });
    const renamed = await sync.synced();
    assert.deepEqual([renamed.pushed, renamed.present], [0, 4]);
    assert.deepEqual(rig.known(), ["disk"]);
    assert.equal((await stat(join(rig.dir("b"), "nar"))).mtimeMs, before.mtimeMs);
  });

  it("lets each cache have its own rules: signatures, compression, upstreams", async () => {
    await using rig = await FolderRig.create();
    const { sync } = rig;
    const key = join(sync.nix.dir, "key");
    const made = await handpick(sync.nix, ["keygen", "disk-1", "--out", key]);
    assert.equal(made.status, 0, made.stderr);
    await rig.configure({
      plain: 'a\ncompression = "none"',
      signed: `b\nsigning-key-file = "${key}"\nsign = "own"`,
    });
    await sync.declare("home", [{ packages: ["data"] }]);
    assert.equal((await sync.synced()).pushed, 2);
    const narInfo = async (cache: string): Promise<string> => {
      const [name = ""] = await narInfosIn(rig.dir(cache));
      return await readFile(join(rig.dir(cache), name), "utf8");
    };
    const [plain, signed] = [await narInfo("a"), await narInfo("b")];
    assert.match(plain, /^Compression: none$/m);
    assert.doesNotMatch(plain, /^Sig:/m);
    assert.match(signed, /^Compression: zstd$/m);
    assert.match(signed, /^Sig: disk-1:/m);
  });

  it("serves the others where one cannot be written to, and says for each how it stands", async () => {
    await using rig = await FolderRig.create();
    const { sync } = rig;
    await writeFile(rig.dir("broken"), "no folder");
    await rig.configure({ broken: "broken", good: "a" });
    await sync.declare("home", [{ packages: ["tool"] }]);
    const { pushed } = await sync.syncedWith(3);
    assert.equal(pushed, 3);
    const { caches } = await sync.status();
    const standing = Object.fromEntries(
      caches.map(({ name, trouble }) => [name, trouble?.code] as const),
    );
    assert.deepEqual(standing, { broken: "CACHE_NOT_FOUND", good: undefined });
  });

  it("takes the same paths from two machines and nix copy at once", async () => {
    await using rig = await FolderRig.create();
    const { sync } = rig;
    await rig.configure({ one: "a" });
    const { tool } = await sync.select("home", [{ packages: ["tool"] }]);
    const to = `file://${rig.dir("a")}`;
    const push = (): ReturnType<typeof handpick> => handpick(sync.nix, ["push", "--to", to, tool]);
    const feature = ["--extra-experimental-features", "nix-command"];
    const copy = sync.nix.run("nix", [...feature, "copy", "--no-check-sigs", "--to", to, tool]);
    const [first, second] = await Promise.all([push(), push(), copy]);
    assert.deepEqual([first.status, second.status], [0, 0], first.stderr + second.stderr);
    assert.equal((await narInfosIn(rig.dir("a"))).length, 3);
    for (const name of await narInfosIn(rig.dir("a"))) {
      const text = await readFile(join(rig.dir("a"), name), "utf8");
      const [, url = ""] = /^URL: (.+)$/m.exec(text) ?? [];
      const [, size = ""] = /^FileSize: (.+)$/m.exec(text) ?? [];
      assert.equal((await stat(join(rig.dir("a"), url))).size, Number(size));
    }
  });
});
