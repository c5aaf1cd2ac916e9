import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { describe, it } from "node:test";

import { md5Of, sample, type Sample, temporaryFolder } from "../../test/serve-client.ts";
import { parseSha256, sha256FromHex } from "../nix/hash.ts";
import { Assemblies } from "./assemblies.ts";
import type { FileClaim } from "./assembly.ts";
import { openDatabase } from "./database.ts";
import { partFileName } from "./part-files.ts";
import { type PartRecord, type UploadRecord, UploadTable } from "./upload-table.ts";

const NEVER = new AbortController().signal;
const CONTENTS = randomBytes(900_000);

/** Knows when a part is asked for, which is when those before are taken. */
class WatchedTable extends UploadTable {
  #asked = new Map<string, PromiseWithResolvers<void>>();

  async askedFor(narId: string, number: number): Promise<void> {
    await this.#waitFor(narId, number).promise;
  }

  override part(narId: string, number: number): PartRecord | undefined {
    this.#waitFor(narId, number).resolve();
    return super.part(narId, number);
  }

  #waitFor(narId: string, number: number): PromiseWithResolvers<void> {
    const key = `${narId} ${number}`;
    const found = this.#asked.get(key) ?? Promise.withResolvers<void>();
    this.#asked.set(key, found);
    return found;
  }
}

interface Rig extends AsyncDisposable {
  readonly table: WatchedTable;
  readonly assemblies: Assemblies;
  readonly partsDir: string;
  readonly tmpFiles: () => Promise<string[]>;
  begin(compression?: "zst" | "xz"): UploadRecord;
  put(upload: UploadRecord, number: number, bytes: Buffer): Promise<PartRecord>;
}

async function openRig(): Promise<Rig> {
  const folder = await temporaryFolder();
  const dirs = { parts: join(folder.path, "parts"), tmp: join(folder.path, "tmp") };
  for (const dir of Object.values(dirs)) await mkdir(dir);
  const db: DatabaseSync = openDatabase(folder.path);
  const table = new WatchedTable(db);
  const assemblies = new Assemblies({ dirs, table });
  return {
    table,
    assemblies,
    partsDir: dirs.parts,
    tmpFiles: () => readdir(dirs.tmp),
    begin: (compression = "zst") => {
      const upload = UploadTable.newUpload(compression);
      table.insert(upload, 0);
      return upload;
    },
    put: async ({ narId }, number, bytes) => {
      const md5 = Buffer.from(md5Of(bytes), "base64").toString("hex");
      const record = { narId, number, md5, sizeBytes: bytes.length };
      await writeFile(join(dirs.parts, partFileName(record)), bytes);
      table.putPart(record, 0);
      return record;
    },
    [Symbol.asyncDispose]: async () => {
      await assemblies[Symbol.asyncDispose]();
      db.close();
      await folder[Symbol.asyncDispose]();
    },
  };
}

function claimOf({ narInfoCreate }: Sample): FileClaim {
  return {
    fileHash: sha256FromHex(String(narInfoCreate["cFileHash"])),
    narHash: parseSha256(String(narInfoCreate["cNarHash"])),
    narSize: Number(narInfoCreate["cNarSize"]),
  };
}

/** Three pieces of a file. */
function thirdsOf({ file }: Sample): [Buffer, Buffer, Buffer] {
  const third = Math.ceil(file.length / 3);
  return [file.subarray(0, third), file.subarray(third, 2 * third), file.subarray(2 * third)];
}

describe("Assemblies", () => {
  it("read each part once, as it arrives, in whatever order", async () => {
    for (const compression of ["zst", "xz"] as const) {
      await using rig = await openRig();
      const sent = sample("ahead", { contents: CONTENTS, compression });
      const [one, two, three] = thirdsOf(sent);
      const upload = rig.begin(compression);
      const parts: PartRecord[] = [];
      for (const [number, bytes] of [
        [2, two],
        [1, one],
        [3, three],
      ] as const) {
        parts.push(await rig.put(upload, number, bytes));
        rig.assemblies.advance(upload);
      }
      await rig.table.askedFor(upload.narId, 4);
      await rm(rig.partsDir, { recursive: true });
      const sorted = parts.toSorted((a, b) => a.number - b.number);
      const proof = { parts: sorted, claim: claimOf(sent), signal: NEVER };
      const file = await rig.assemblies.finish(upload, proof);
      assert.ok(sent.file.equals(await readFile(file)));
    }
  });

  it("begin again where another part has taken the place of one, or one is left out", async () => {
    await using rig = await openRig();
    const sent = sample("replaced", { contents: CONTENTS });
    const [one, two, three] = thirdsOf(sent);
    const [other] = thirdsOf(sample("other", { contents: randomBytes(900_000) }));
    const upload = rig.begin();
    await rig.put(upload, 1, other);
    rig.assemblies.advance(upload);
    await rig.table.askedFor(upload.narId, 2);
    const parts = [await rig.put(upload, 1, one), await rig.put(upload, 3, two)];
    parts.push(await rig.put(upload, 4, three));
    const proof = { parts, claim: claimOf(sent), signal: NEVER };
    const file = await rig.assemblies.finish(upload, proof);
    assert.ok(sent.file.equals(await readFile(file)));
    assert.equal((await rig.tmpFiles()).length, 1);
  });

  it("prove all the same: another file, another NAR, a NAR that is longer than it is said", async () => {
    await using rig = await openRig();
    const sent = sample("claims", { contents: CONTENTS });
    const other = claimOf(sample("other"));
    const claim = claimOf(sent);
    const upload = rig.begin();
    const thirds = thirdsOf(sent);
    const parts: PartRecord[] = [];
    for (const bytes of thirds) parts.push(await rig.put(upload, parts.length + 1, bytes));
    for (const wrong of [
      { ...claim, fileHash: other.fileHash },
      { ...claim, narHash: other.narHash },
      { ...claim, narSize: claim.narSize - 1 },
      { ...claim, narSize: claim.narSize + 1 },
    ]) {
      for (const isAhead of [true, false]) {
        if (isAhead) rig.assemblies.advance(upload);
        const failing = rig.assemblies.finish(upload, { parts, claim: wrong, signal: NEVER });
        await assert.rejects(failing, { status: 400 });
        assert.deepEqual(await rig.tmpFiles(), []);
      }
    }
    await rig.assemblies.finish(upload, { parts, claim, signal: NEVER });
  });

  it("unpack nothing ahead that swells too much, and do once its size is claimed", async () => {
    await using rig = await openRig();
    const contents = Buffer.concat([CONTENTS.subarray(0, 100_000), Buffer.alloc(20_000_000)]);
    const sent = sample("swells", { contents });
    const upload = rig.begin();
    const parts = [await rig.put(upload, 1, sent.file)];
    rig.assemblies.advance(upload);
    await rig.table.askedFor(upload.narId, 1);
    const file = await rig.assemblies.finish(upload, {
      parts,
      claim: claimOf(sent),
      signal: NEVER,
    });
    assert.ok(sent.file.equals(await readFile(file)));
    assert.equal((await rig.tmpFiles()).length, 1);
  });

  it("stop when they are told to, in whatever they do", async () => {
    await using rig = await openRig();
    const sent = sample("stopped", { contents: Buffer.alloc(50_000_000) });
    const upload = rig.begin();
    const parts = [await rig.put(upload, 1, sent.file)];
    for (const isAhead of [true, false]) {
      const controller = new AbortController();
      if (isAhead) rig.assemblies.advance(upload);
      const proof = { parts, claim: claimOf(sent), signal: controller.signal };
      const finishing = rig.assemblies.finish(upload, proof);
      controller.abort();
      await assert.rejects(finishing, { name: "AbortError" });
      assert.deepEqual(await rig.tmpFiles(), []);
    }
  });

  it("are four at most, and leave nothing of what is given up", async () => {
    await using rig = await openRig();
    const [one] = thirdsOf(sample("half", { contents: CONTENTS }));
    const uploads = Array.from({ length: 6 }, () => rig.begin());
    for (const upload of uploads) {
      await rig.put(upload, 1, one);
      rig.assemblies.advance(upload);
    }
    for (const { narId } of uploads.slice(0, 4)) await rig.table.askedFor(narId, 2);
    assert.equal((await rig.tmpFiles()).length, 4);
    for (const { narId } of uploads) await rig.assemblies.drop(narId);
    assert.deepEqual(await rig.tmpFiles(), []);
  });
});
