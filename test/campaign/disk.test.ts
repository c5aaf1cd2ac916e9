import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { text } from "node:stream/consumers";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";

import { CHANNEL } from "../handpick.ts";
import { tempDir } from "../temp.ts";
import { DiskFaults } from "./disk-faults.ts";
import type { FaultStep } from "./fault-step.ts";
import { attend } from "./run-program.ts";

const PRELOADED = fileURLToPath(new URL("disk.mjs", import.meta.url));

/** Writes a file as caches do, in one thread or in others, and tells each failure. */
const PROGRAM = `
  import fs from "node:fs";
  import { promisify } from "node:util";
  const [dir, how] = process.argv.slice(1);
  const of = (name) => how === "sync" ? fs[name + "Sync"] : promisify(fs[name]);
  const attempt = async (name, ...given) => {
    try {
      const result = await of(name)(...given);
      return result?.bytesWritten ?? result;
    } catch (error) {
      console.log(name, error.code);
    }
  };
  const fd = await attempt("open", dir + "/new", fs.constants.O_WRONLY | fs.constants.O_CREAT, 0o600);
  const bytes = Buffer.from("0123456789");
  console.log("wrote", await attempt("write", fd, bytes, 0, 10, 0));
  await attempt("fsync", fd);
  await attempt("close", fd);
  await attempt("rename", dir + "/new", dir + "/named");
`;

interface Outcome {
  readonly told: string;
  readonly signal: string | null;
  /** Names of files, with their contents. */
  readonly files: Readonly<Record<string, string>>;
  readonly unsafe: readonly string[];
  readonly calls: readonly string[];
}

for (const how of ["callback", "sync"] as const) {
  describe(`disk.mjs, for calls of form ${how}`, () => {
    it("asks about every call, and lets it be made", async () => {
      const { told, files, unsafe, calls } = await run(how);
      assert.deepEqual([told, files, unsafe], ["wrote 10\n", { named: "0123456789" }, []]);
      assert.deepEqual(calls, ["create", "write", "sync", "close", "rename"]);
    });

    it("fails a call before it is made, in the middle of it, and after it", async () => {
      const before = await run(how, fault("rename", "EROFS"));
      assert.deepEqual(before.told, "wrote 10\nrename EROFS\n");
      assert.deepEqual(before.files, { new: "0123456789" });
      const within = await run(how, fault("write", "half, ENOSPC"));
      assert.deepEqual(within.told, "write ENOSPC\nwrote undefined\n");
      assert.deepEqual(within.files, { named: "01234" });
      const after = await run(how, fault("rename", "done, EIO"));
      assert.deepEqual(after.told, "wrote 10\nrename EIO\n");
      assert.deepEqual(after.files, { named: "0123456789" });
    });

    it("writes a part of what it is given", async () => {
      assert.equal((await run(how, fault("write", "short"))).told, "wrote 5\n");
    });

    it("kills before a call, and after it", async () => {
      const before = await run(how, fault("rename", "SIGKILL"));
      assert.deepEqual([before.signal, Object.keys(before.files)], ["SIGKILL", ["new"]]);
      const after = await run(how, fault("rename", "SIGKILL, done"));
      assert.deepEqual([after.signal, Object.keys(after.files)], ["SIGKILL", ["named"]]);
    });

    it("tells which file got its name before it was on disk", async () => {
      const { unsafe } = await run(how, fault("sync", "EIO"));
      assert.match(unsafe.join(), /named gets its name before it is on disk/);
    });
  });
}

describe("DiskFaults", () => {
  it("hears from questions about another disk which calls are over", async () => {
    const disk = new DiskFaults("one", "/disk");
    const from = "/disk/new";
    await disk.answer({ number: 1, call: "write", path: from, over: [] });
    disk.hear({ number: 2, call: "look", path: "/other", over: [1] });
    await disk.answer({ number: 3, call: "sync", path: from, over: [] });
    const unsafe = (): readonly string[] => disk.unsafeNames(() => undefined);
    await disk.answer({ number: 5, call: "rename", path: "/disk/named", from, over: [] });
    assert.equal(unsafe().length, 1);
    disk.hear({ number: 4, call: "look", path: "/other", over: [3] });
    assert.deepEqual(unsafe(), []);
  });
});

function fault(operation: string, effect: string): FaultStep {
  return { cache: "one", operation, nth: 1, times: 1, effect };
}

async function run(how: string, ...faults: FaultStep[]): Promise<Outcome> {
  await using temp = await tempDir();
  const disk = new DiskFaults("one", temp.dir);
  const args = ["--import", PRELOADED, "--input-type=module", "-e", PROGRAM, temp.dir, how];
  const child = spawn(process.execPath, args, {
    stdio: ["pipe", "pipe", "pipe", "pipe"],
    env: { ...process.env, CAMPAIGN_DISKS: temp.dir },
  });
  disk.player.begin(faults, {
    signal: (signal) => void child.kill(signal),
    stepClock: () => undefined,
    revokeToken: () => undefined,
    goAway: async () => undefined,
  });
  attend(child.stdio.at(CHANNEL) as Duplex, [disk]);
  const [told] = await Promise.all([text(child.stdout), once(child, "exit")]);
  const names = await readdir(temp.dir);
  const files = names.map(async (name) => [name, await readFile(join(temp.dir, name), "utf8")]);
  return {
    told,
    signal: child.signalCode,
    files: Object.fromEntries(await Promise.all(files)) as Outcome["files"],
    unsafe: disk.unsafeNames(() => undefined),
    calls: disk.player.log.map(({ operation }) => operation),
  };
}
