import assert from "node:assert/strict";
import { chmod, chown, copyFile, mkdir, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { utimesSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, it } from "node:test";
import { asOrdinaryUser, makeUnwritable } from "../../test/ordinary-user.ts";
import { tempDir, type TempDir } from "../../test/temp.ts";
import { parseStorePath } from "../nix/store-path.ts";
import { selectClosure, selectNew, selectPathInfos, selectValid } from "./database-queries.ts";
import { Database } from "./database.ts";

const SCHEMA = `
  create table ValidPaths (id integer primary key autoincrement not null, path text unique not null,
    hash text not null, registrationTime integer not null, deriver text, narSize integer,
    ultimate integer, sigs text, ca text);
  create table Refs (referrer integer not null, reference integer not null,
    primary key (referrer, reference));`;

const HASH = `sha256:${"0".repeat(64)}`;
const NOBODY = 65534;

interface Sample extends AsyncDisposable {
  readonly stateDir: string;
  readonly file: string;
  /** Nix's own connection: while it is open, the files of the WAL exist. */
  readonly nix: DatabaseSync;
  add(name: string, fields?: { readonly hash?: string; readonly narSize?: number | null }): void;
}

/** A database such as Nix makes, in a folder that everybody may read. */
async function sampleDatabase(): Promise<Sample> {
  const temp: TempDir = await tempDir();
  const stateDir = temp.dir;
  await mkdir(join(stateDir, "db"));
  await writeFile(join(stateDir, "db/schema"), "10");
  const file = join(stateDir, "db/db.sqlite");
  const nix = new DatabaseSync(file);
  nix.exec(`pragma journal_mode = wal; ${SCHEMA}`);
  await chmod(stateDir, 0o755);
  let count = 0;
  return {
    stateDir,
    file,
    nix,
    add(name, { hash = HASH, narSize = 1 } = {}) {
      const path = `/nix/store/${`${count++ % 10}`.repeat(32)}-${name}`;
      nix
        .prepare(
          "insert into ValidPaths (path, hash, registrationTime, narSize) values (?, ?, 1, ?)",
        )
        .run(path, hash, narSize);
    },
    async [Symbol.asyncDispose]() {
      if (nix.isOpen) nix.close();
      await chmod(join(stateDir, "db"), 0o755);
      await temp[Symbol.asyncDispose]();
    },
  };
}

const countPaths = (connection: DatabaseSync): unknown =>
  connection.prepare("select count(*) as count from ValidPaths").get()?.["count"];

describe("Database.open()", () => {
  it("refuses a folder without database", async () => {
    await assert.rejects(Database.open("/nonexistent"), { code: "STORE_UNAVAILABLE" });
  });

  it("refuses another schema", async () => {
    await using sample = await sampleDatabase();
    await writeFile(join(sample.stateDir, "db/schema"), "11\n");
    await assert.rejects(Database.open(sample.stateDir), {
      code: "STORE_UNSUPPORTED",
      message: /expected schema 10, found "11"/,
    });
  });
});

describe("Database", () => {
  it("sees what Nix commits while it is open", async () => {
    await using sample = await sampleDatabase();
    const database = await Database.open(sample.stateDir);
    assert.deepEqual(database.tryLive(countPaths), { value: 0 });
    sample.add("a");
    assert.equal(await database.read(countPaths), 1);
    sample.nix.exec("begin");
    sample.add("b");
    assert.equal(await database.read(countPaths), 1);
    sample.nix.exec("commit");
    assert.equal(await database.read(countPaths), 2);
    database.close();
  });

  it("gives one snapshot to one query", async () => {
    await using sample = await sampleDatabase();
    const database = await Database.open(sample.stateDir);
    const counts = await database.read((connection) => {
      const first = countPaths(connection);
      sample.add("a");
      return [first, countPaths(connection)];
    });
    assert.deepEqual(counts, [0, 0]);
    database.close();
  });

  it("cannot write", async () => {
    await using sample = await sampleDatabase();
    const database = await Database.open(sample.stateDir);
    const write = (connection: DatabaseSync): void => connection.exec("delete from ValidPaths");
    sample.add("a");
    await assert.rejects(database.read(write));
    assert.equal(await database.read(countPaths), 1);
    database.close();
  });

  it("reads for an ordinary user when Nix has taken the WAL away", async () => {
    await using sample = await sampleDatabase();
    sample.add("a");
    sample.nix.close();
    await makeUnwritable(join(sample.stateDir, "db"));
    await asOrdinaryUser(async () => {
      const database = await Database.open(sample.stateDir);
      assert.equal(database.tryLive(countPaths), undefined);
      assert.equal(await database.read(countPaths), 1);
      assert.equal(await database.read(countPaths), 1);
    });
    assert.deepEqual(await readdir(join(sample.stateDir, "db")), ["db.sqlite", "schema"]);
  });

  it("reads rows that a crash left in the WAL", async () => {
    await using sample = await sampleDatabase();
    await using crashed = await tempDir();
    sample.add("a");
    await mkdir(join(crashed.dir, "db"));
    await writeFile(join(crashed.dir, "db/schema"), "10");
    const file = join(crashed.dir, "db/db.sqlite");
    await copyFile(sample.file, file);
    await copyFile(`${sample.file}-wal`, `${file}-wal`);
    await chmod(crashed.dir, 0o755);
    await makeUnwritable(join(crashed.dir, "db"));
    const copies = async (): Promise<string[]> =>
      (await readdir(tmpdir())).filter((name) => name.startsWith("handpick-db-"));
    const before = await copies();
    await asOrdinaryUser(async () => {
      const database = await Database.open(crashed.dir);
      assert.equal(database.tryLive(countPaths), undefined);
      assert.equal(await database.read(countPaths), 1);
    });
    assert.deepEqual(await copies(), before);
    await chmod(join(crashed.dir, "db"), 0o755);
  });

  it("reads again when Nix wrote meanwhile, but not for ever", async () => {
    await using sample = await sampleDatabase();
    sample.nix.close();
    if (process.getuid?.() === 0) await chown(sample.file, NOBODY, NOBODY);
    await makeUnwritable(join(sample.stateDir, "db"));
    await asOrdinaryUser(async () => {
      const database = await Database.open(sample.stateDir);
      let reads = 0;
      const touch = (): number => {
        utimesSync(sample.file, reads, ++reads);
        return reads;
      };
      const once = (connection: DatabaseSync): unknown => {
        const count = countPaths(connection);
        return reads === 0 ? touch() : count;
      };
      assert.equal(await database.read(once), 0);
      const always = (connection: DatabaseSync): unknown => [countPaths(connection), touch()];
      await assert.rejects(database.read(always), {
        code: "STORE_FAILED",
        message: /changed during each of 5 reads/,
      });
      const torn = (connection: DatabaseSync): unknown => {
        countPaths(connection);
        touch();
        throw new Error("torn page");
      };
      await assert.rejects(database.read(torn), { message: /changed during each/ });
      const broken = (connection: DatabaseSync): unknown => {
        countPaths(connection);
        throw new Error("broken page");
      };
      await assert.rejects(database.read(broken), { code: "STORE_FAILED", message: /broken page/ });
    });
  });

  it("says that a file is no database", async () => {
    await using sample = await sampleDatabase();
    sample.nix.close();
    await writeFile(sample.file, "no database ".repeat(1000));
    const database = await Database.open(sample.stateDir);
    await assert.rejects(database.read(countPaths), {
      code: "STORE_FAILED",
      message: /not a data/,
      hint: /^Run nix-store --verify/,
    });
  });

  it("fails with a code when the file is gone", async () => {
    await using sample = await sampleDatabase();
    const database = await Database.open(sample.stateDir);
    sample.nix.close();
    await rm(sample.file);
    await assert.rejects(database.read(countPaths), { code: "STORE_FAILED" });
    await writeFile(sample.file, "");
    await utimes(sample.file, 1, 1);
    await assert.rejects(database.read(countPaths), {
      code: "STORE_FAILED",
      message: /no such tab/,
    });
  });
});

describe("queries", () => {
  const A = parseStorePath(`/nix/store/${"0".repeat(32)}-a`);

  it("take an unknown size for 0 and old spellings of hashes", async () => {
    await using sample = await sampleDatabase();
    sample.add("a", { hash: `sha256:${"0".repeat(52)}`, narSize: null });
    const database = await Database.open(sample.stateDir);
    const infos = await database.read((c) => selectPathInfos(c, [A], "/nix/store"));
    assert.equal(infos.get(A)?.narSize, 0);
    assert.equal(infos.get(A)?.narHash, `sha256:${"0".repeat(52)}`);
    database.close();
  });

  it("refuse rows that no Nix wrote", async () => {
    for (const fields of [{ hash: "md5:x" }, { hash: "" }, { narSize: -1 }, { narSize: 2 ** 60 }]) {
      await using sample = await sampleDatabase();
      sample.add("a", fields);
      const database = await Database.open(sample.stateDir);
      await assert.rejects(
        database.read((c) => selectClosure(c, [A], "/nix/store")),
        { code: /^STORE_(?:PROTOCOL|FAILED)$/ } as unknown as Error,
      );
      database.close();
    }
  });

  it("refuse paths of another store", async () => {
    await using sample = await sampleDatabase();
    sample.add("../../x");
    const database = await Database.open(sample.stateDir);
    await assert.rejects(
      database.read((c) => selectNew(c, 0, "/nix/store")),
      { code: "STORE_PROTOCOL" },
    );
    database.close();
  });

  it("stand references that lead in circles", async () => {
    await using sample = await sampleDatabase();
    for (const name of ["a", "b"]) sample.add(name);
    sample.nix.exec("insert into Refs values (1, 1), (1, 2), (2, 1)");
    const database = await Database.open(sample.stateDir);
    const closure = await database.read((c) => selectClosure(c, [A], "/nix/store"));
    assert.equal(closure.size, 2);
    assert.deepEqual(closure.get(A)?.references, [...closure.keys()].toSorted());
    assert.equal((await database.read((c) => selectValid(c, [A], "/nix/store"))).size, 1);
    database.close();
  });

  it("give a mark of 0 for a store that never held a path", async () => {
    await using sample = await sampleDatabase();
    const database = await Database.open(sample.stateDir);
    assert.deepEqual(await database.read((c) => selectNew(c, undefined, "/nix/store")), {
      mark: 0,
      paths: [],
    });
    database.close();
  });
});
