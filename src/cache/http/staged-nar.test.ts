import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdir, readlink } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";

import { smallDisk } from "../../../test/small-disk.ts";
import { sampleUpload, type SampleUpload } from "../../../test/sample-upload.ts";
import { type TempDir, tempDir } from "../../../test/temp.ts";
import type { LargeName, ObjectRequest } from "../layout/object-store.ts";
import { StagedNar, type WholeFile } from "./staged-nar.ts";

const { signal } = new AbortController();
const ASKING: ObjectRequest = { action: 'write "app" to cache "mine"', signal };
const NAME: LargeName = {
  of: ({ fileHash }) => `nar/${fileHash}`,
  replaces: false,
  unique: "nar/unique",
  contentType: "application/x-nix-nar",
  narSize: 1,
};
const SAMPLE: SampleUpload = sampleUpload({ name: "app", parts: 5 });

interface Rig extends AsyncDisposable {
  readonly staged: StagedNar;
  readonly temp: TempDir;
  readonly sent: Buffer[];
  /** How often it was told to be closed. */
  readonly closed: () => number;
  /** Files of the folder that this process has open. */
  open(): Promise<number>;
}

async function createRig(
  send?: (file: WholeFile, request: ObjectRequest) => Promise<void>,
  disk?: TempDir,
): Promise<Rig> {
  const temp = disk ?? (await tempDir());
  const sent: Buffer[] = [];
  let closed = 0;
  const staged = new StagedNar({
    name: NAME,
    dir: temp.dir,
    onClosed: () => void (closed += 1),
    send: async (file, request) => {
      await send?.(file, request);
      sent.push(await read(file));
    },
  });
  return {
    staged,
    temp,
    sent,
    closed: () => closed,
    async open() {
      const files = await readdir("/proc/self/fd");
      const paths = files.map((name) => readlink(join("/proc/self/fd", name)).catch(() => ""));
      return (await Promise.all(paths)).filter((path) => path.startsWith(temp.dir)).length;
    },
    async [Symbol.asyncDispose]() {
      await staged.abort();
      await temp[Symbol.asyncDispose]();
    },
  };
}

async function read({ body }: WholeFile): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of body.open()) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
}

const isLinux = process.platform === "linux";

describe("StagedNar", () => {
  it("sends the parts as one file, in whatever order they came, as soon as it is whole", async () => {
    await using rig = await createRig();
    const [first, ...others] = SAMPLE.parts;
    assert.ok(first);
    await Promise.all(others.map((part) => rig.staged.put(part, ASKING)));
    assert.deepEqual(rig.sent, []);
    await rig.staged.put(first, ASKING);
    assert.equal(await rig.staged.finish(SAMPLE.packed, ASKING), `nar/${SAMPLE.packed.fileHash}`);
    assert.deepEqual(rig.sent, [SAMPLE.file]);
    assert.equal(rig.closed(), 1);
    await rig.staged.abort();
    assert.equal(rig.closed(), 1);
  });

  it("gives the file from its start as often as it is sent", async () => {
    const again: Buffer[] = [];
    await using rig = await createRig(async (file) => {
      for await (const _ of file.body.open()) break;
      again.push(await read(file));
    });
    for (const part of SAMPLE.parts) await rig.staged.put(part, ASKING);
    await rig.staged.finish(SAMPLE.packed, ASKING);
    assert.deepEqual([...again, ...rig.sent], [SAMPLE.file, SAMPLE.file]);
  });

  it(
    "leaves nothing in its folder, and nothing open",
    { skip: !isLinux && "needs /proc" },
    async () => {
      await using rig = await createRig();
      const [first, ...others] = SAMPLE.parts;
      assert.ok(first);
      await rig.staged.put(first, ASKING);
      assert.deepEqual([await readdir(rig.temp.dir), await rig.open()], [[], 1]);
      for (const part of others) await rig.staged.put(part, ASKING);
      await rig.staged.finish(SAMPLE.packed, ASKING);
      assert.equal(await rig.open(), 0);
      await using given = await createRig();
      await given.staged.put(first, ASKING);
      await given.staged.abort();
      assert.deepEqual([await given.open(), given.closed()], [0, 1]);
    },
  );

  it("stops a request that is under way when it is given up", async () => {
    const started = Promise.withResolvers<void>();
    await using rig = await createRig(async (_, { signal }) => {
      started.resolve();
      await new Promise((_, reject) =>
        signal.addEventListener("abort", () => reject(signal.reason as Error)),
      );
    });
    for (const part of SAMPLE.parts) await rig.staged.put(part, ASKING);
    await started.promise;
    const stop = new AbortController();
    const finished = rig.staged.finish(SAMPLE.packed, { ...ASKING, signal: stop.signal });
    stop.abort(new Error("stop"));
    await assert.rejects(finished, /stop/);
    await rig.staged.abort();
    assert.equal(rig.closed(), 1);
  });

  it("tells the failure of the request when it is to be finished, and is closed by then", async () => {
    await using rig = await createRig(() => Promise.reject(new Error("refused")));
    for (const part of SAMPLE.parts) await rig.staged.put(part, ASKING);
    await assert.rejects(rig.staged.finish(SAMPLE.packed, ASKING), /refused/);
    assert.equal(rig.closed(), 1);
  });

  it("refuses to be finished while parts are missing", async () => {
    await using rig = await createRig();
    for (const part of SAMPLE.parts.slice(1)) await rig.staged.put(part, ASKING);
    await assert.rejects(rig.staged.finish(SAMPLE.packed, ASKING), {
      code: "UPLOAD_REJECTED",
      message: /^Cannot write "app" to cache "mine": expected \d+ bytes, received \d+$/,
    });
  });

  it("says that the disk is full, and where", async (t) => {
    const disk = await smallDisk(8192);
    if (disk === undefined) return t.skip("this user may not mount");
    await using rig = await createRig(undefined, disk);
    const bytes = new Uint8Array(16384);
    await assert.rejects(
      rig.staged.put({ number: 1, offset: 0, bytes, md5: "", fileHash: undefined }, ASKING),
      {
        code: "FILE_UNUSABLE",
        message: `Cannot write "app" to cache "mine": it waits in ${disk.dir} until it is whole, and the disk is full`,
        hint: /name another folder in TMPDIR/,
      },
    );
  });

  it("says that its folder cannot be written", async () => {
    await using rig = await createRig();
    const [part] = SAMPLE.parts;
    assert.ok(part);
    execFileSync("rmdir", [rig.temp.dir]);
    const message = /and ENOENT: no such file/;
    await assert.rejects(rig.staged.put(part, ASKING), { code: "FILE_UNUSABLE", message });
  });
});
