import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";

import { tempDir } from "../../../test/temp.ts";

/** The end of the mounting that was not possible. */
const NOT_MOUNTED = 42;

/** The child's script: two paths, of which the second has `size` bytes or begins at `offset`. */
const SCRIPT = `
  const { createFileCache } = await import(${JSON.stringify(import.meta.resolve("./file-cache.ts"))});
  const { sampleUpload, samplePart } = await import(${JSON.stringify(import.meta.resolve("../../../test/sample-upload.ts"))});
  const { readdirSync } = await import("node:fs");
  const { execFileSync } = await import("node:child_process");
  const [dir, size, offset, before] = process.argv.slice(1);
  const { signal } = new AbortController();
  const cache = createFileCache({ name: "usb", dir });
  const push = async (sample, part, packed) => {
    const upload = await cache.beginUpload(sample.request, signal);
    try {
      await upload.putPart(part, signal);
      await upload.publish(packed, signal);
      return "pushed";
    } catch ({ code, message }) {
      await upload.abort();
      return { code, message };
    }
  };
  const small = sampleUpload({ name: "small" });
  const large = sampleUpload({ name: "large" });
  const results = [await push(small, small.parts[0], small.packed)];
  execFileSync("sh", ["-c", before]);
  const part = { ...samplePart(1, Buffer.alloc(Number(size), "x")), offset: Number(offset) };
  results.push(await push(large, part, { ...large.packed, fileSize: Number(size) }));
  const left = ["nar/.partial", ".partial"].flatMap((name) => {
    try { return readdirSync(dir + "/" + name); } catch { return []; }
  });
  const info = await cache.info(signal).catch(({ code }) => ({ writable: code }));
  console.log(JSON.stringify({ results, left, writable: info.writable }));
`;

interface Told {
  readonly results: readonly unknown[];
  /** Files that are not whole. */
  readonly left: readonly string[];
  readonly writable: unknown;
}

interface Disk {
  /** Mounts the disk on \`$DIR\`; \`$IMAGE\` is a file to make one of. */
  readonly mount: string;
  readonly size?: number;
  readonly offset?: number;
  /** Runs after the first path. */
  readonly before?: string;
}

/** Pushes two paths in a process that alone sees the disk; skips the test where it cannot be mounted. */
async function pushTo(t: TestContext, disk: Disk): Promise<Told | undefined> {
  await using temp = await tempDir();
  const { mount, size = 100, offset = 0, before = "true" } = disk;
  const dir = join(temp.dir, "disk");
  const script = join(temp.dir, "push.mjs");
  await writeFile(script, SCRIPT.replace("slice(1)", "slice(2)"));
  const shell = `
    mkdir "$DIR" && { ${mount} ; } >"$LOG" 2>&1 || { cat "$LOG" >&2; exit ${NOT_MOUNTED}; }
    exec "$0" "$@"`;
  const user = process.getuid?.() === 0 ? [] : ["--user", "--map-root-user"];
  const args = [process.execPath, script, join(dir, "cache"), `${size}`, `${offset}`, before];
  const { status, stdout, stderr, error } = spawnSync(
    "unshare",
    [...user, "--mount", "sh", "-c", shell, ...args],
    {
      encoding: "utf8",
      env: {
        PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin`,
        DIR: dir,
        IMAGE: join(temp.dir, "image"),
        LOG: join(temp.dir, "log"),
      },
    },
  );
  if (error !== undefined || status === NOT_MOUNTED || /unshare: /.test(stderr)) {
    const reason = (error?.message ?? stderr).trim().split("\n").at(-1);
    t.skip(`the disk cannot be mounted here: ${reason ?? ""}`);
    return undefined;
  }
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout) as Told;
}

describe("a disk", () => {
  it("that is full is told, and what was begun is removed", async (t) => {
    const mount = 'mount -t tmpfs -o size=1m none "$DIR"';
    const told = await pushTo(t, { mount, size: 2 << 20 });
    if (told === undefined) return;
    assert.deepEqual(told, {
      results: [
        "pushed",
        {
          code: "CACHE_UNAVAILABLE",
          message: 'Cannot write "large" to cache "usb": the disk is full (ENOSPC)',
        },
      ],
      left: [],
      writable: true,
    });
  });

  it("that has no room for a name is told", async (t) => {
    const mount = 'mount -t tmpfs -o nr_inodes=14 none "$DIR"';
    const told = await pushTo(t, {
      mount,
      before: 'i=0; while touch "$DIR/$i" 2>/dev/null; do i=$((i+1)); done',
    });
    if (told === undefined) return;
    const [first, second] = told.results;
    assert.equal(first, "pushed");
    assert.equal((second as { code?: unknown }).code, "CACHE_UNAVAILABLE");
  });

  it("that becomes read-only is told", async (t) => {
    const mount = 'mount -t tmpfs none "$DIR"';
    const before = 'mount -o remount,ro "$DIR"';
    const told = await pushTo(t, { mount, before });
    if (told === undefined) return;
    assert.deepEqual(told, {
      results: [
        "pushed",
        {
          code: "CACHE_READ_ONLY",
          message: 'Cannot write "large" to cache "usb": the disk is read-only (EROFS)',
        },
      ],
      left: [],
      writable: false,
    });
  });

  it("that is unmounted is told, and nothing is written below it", async (t) => {
    const mount = 'mount -t tmpfs none "$DIR"';
    const told = await pushTo(t, { mount, before: 'umount "$DIR"' });
    if (told === undefined) return;
    assert.deepEqual(told.results.at(1), {
      code: "CACHE_UNAVAILABLE",
      message: 'Cannot write "large" to cache "usb": its folder is gone',
    });
    assert.deepEqual(told.left, []);
  });

  it("whose files end at some size is told for the path alone", async (t) => {
    const mount =
      'truncate -s 8M "$IMAGE" && mke2fs -q -b 1024 -t ext2 "$IMAGE" && mount -o loop "$IMAGE" "$DIR"';
    const told = await pushTo(t, { mount, offset: 2 ** 40 });
    if (told === undefined) return;
    const [, second] = told.results;
    assert.equal((second as { code?: unknown }).code, "UPLOAD_REJECTED");
    assert.deepEqual(told.left, []);
  });

  it("with FAT is named as the reason why files end at 4 GiB, and takes smaller ones", async (t) => {
    const mount =
      'truncate -s 64M "$IMAGE" && mkfs.vfat "$IMAGE" && mount -o loop -t vfat "$IMAGE" "$DIR"';
    const told = await pushTo(t, { mount, offset: 2 ** 32 });
    if (told === undefined) return;
    const message = /FAT, where files end at 4 GiB$/;
    assert.equal(told.results[0], "pushed");
    assert.match((told.results[1] as { message: string }).message, message);
    assert.deepEqual(told.left, []);
  });
});
