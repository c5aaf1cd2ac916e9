import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  chmod,
  mkdir,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";

import { createFakeClock } from "../../../test/fakes/clock.ts";
import { asOrdinaryUser, NOBODY } from "../../../test/ordinary-user.ts";
import { sampleUpload, type SampleUpload } from "../../../test/sample-upload.ts";
import { SIGNING_KEYS } from "../../../test/signed.ts";
import { tempDir } from "../../../test/temp.ts";
import { parseNarInfo } from "../../nix/narinfo.ts";
import { hashPartOf, parseStorePath } from "../../nix/store-path.ts";
import type { Cache, Closeness, Upload } from "../contract.ts";
import { createFileCache, type FileCacheOptions } from "./file-cache.ts";
import { ABANDONED_MS } from "./partial-files.ts";

const { signal } = new AbortController();
/** Of a path that Nix named for its content. */
const ADDRESSED = {
  path: parseStorePath("/nix/store/72lsa8jbk86m74df2zaqyb4dq36l7245-lib"),
  contentAddress: "text:sha256:1xsh8w47cwbgnz9l5q3gg6vdzannffg32pl0x40d6k7k5m6r00iz",
};

interface Rig extends AsyncDisposable {
  /** The folder that the one of the cache goes to. */
  readonly parent: string;
  readonly dir: string;
  readonly cache: Cache;
  readonly path: (...names: string[]) => string;
}

async function createRig(options: Partial<FileCacheOptions> = {}): Promise<Rig> {
  const temp = await tempDir();
  const dir = join(temp.dir, "cache");
  const cache = createFileCache({ name: "usb", dir, ...options });
  return {
    parent: temp.dir,
    dir,
    cache,
    path: (...names) => join(dir, ...names),
    async [Symbol.asyncDispose]() {
      await cache[Symbol.asyncDispose]();
      await temp[Symbol.asyncDispose]();
    },
  };
}

async function begin(cache: Cache, sample: SampleUpload): Promise<Upload> {
  const upload = await cache.beginUpload(sample.request, signal);
  for (const part of sample.parts) await upload.putPart(part, signal);
  return upload;
}

async function push(cache: Cache, sample: SampleUpload): Promise<void> {
  const upload = await begin(cache, sample);
  await upload.publish(sample.packed, signal).catch(async (error: unknown) => {
    await upload.abort();
    throw error;
  });
}

/**
 * Evaluates an expression about `cache` in a process of an ordinary user: access(2) asks for the real user, and
 * that of the tests may be root.
 */
function asProcessOfNobody(dir: string, expression: string): unknown {
  const module = JSON.stringify(new URL("file-cache.ts", import.meta.url).href);
  const script = `
    import { createFileCache } from ${module};
    const { signal } = new AbortController();
    const cache = createFileCache({ name: "usb", dir: ${JSON.stringify(dir)} });
    console.log(JSON.stringify(${expression}));`;
  const user = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {};
  const env = { PATH: process.env["PATH"] };
  const options = { ...user, env, cwd: "/", encoding: "utf8" } as const;
  return JSON.parse(
    execFileSync(process.execPath, ["--input-type=module", "--eval", script], options),
  );
}

const app = sampleUpload({ name: "app" });
const hash = hashPartOf(app.storePath);
const narName = `${app.packed.fileHash.slice("sha256:".length)}.nar.zst`;

describe("the folder of a cache", () => {
  it("is laid out as Nix does it, with what a reader needs who may not write", async () => {
    await using rig = await createRig();
    await push(rig.cache, app);
    const names = [".partial", `${hash}.narinfo`, "log", "nar", "nix-cache-info", "realisations"];
    assert.deepEqual((await readdir(rig.dir)).toSorted(), names.toSorted());
    assert.deepEqual((await readdir(rig.path("nar"))).toSorted(), [".partial", narName].toSorted());
    assert.equal(await readFile(rig.path("nix-cache-info"), "utf8"), "StoreDir: /nix/store\n");
    assert.deepEqual(await readFile(rig.path("nar", narName)), app.file);
    const narInfo = parseNarInfo(await readFile(rig.path(`${hash}.narinfo`), "utf8"));
    assert.equal(narInfo.url, `nar/${narName}`);
  });

  it("keeps nothing that is not whole", async () => {
    await using rig = await createRig();
    await push(rig.cache, app);
    const upload = await begin(rig.cache, sampleUpload({ name: "given-up" }));
    assert.equal((await readdir(rig.path("nar/.partial"))).length, 1);
    await upload.abort();
    for (const folder of [".partial", "nar/.partial"]) {
      assert.deepEqual(await readdir(rig.path(folder)), []);
    }
  });

  it("may be read by others, as the umask says", async () => {
    await using rig = await createRig();
    const before = process.umask(0o027);
    try {
      await push(rig.cache, app);
    } finally {
      process.umask(before);
    }
    const modeOf = async (name: string): Promise<number> => (await stat(rig.path(name))).mode;
    for (const name of [".", "nar"]) assert.equal((await modeOf(name)) & 0o777, 0o750);
    for (const name of ["nix-cache-info", `${hash}.narinfo`, `nar/${narName}`]) {
      assert.equal((await modeOf(name)) & 0o777, 0o640, name);
    }
  });

  it("is neither made nor changed before something is written", async () => {
    await using rig = await createRig();
    await rig.cache.info(signal);
    assert.deepEqual(await rig.cache.missing([hash], signal), new Set([hash]));
    assert.deepEqual(await readdir(rig.parent), []);
  });

  it("keeps the store that its nix-cache-info names, and takes no path of another", async () => {
    await using rig = await createRig({ storeDir: "/nix/store" });
    await mkdir(rig.dir);
    const text = "StoreDir: /other/store\nPriority: 10\n";
    await writeFile(rig.path("nix-cache-info"), text);
    assert.equal((await rig.cache.info(signal)).storeDir, "/other/store");
    await assert.rejects(push(rig.cache, app), { code: "STORE_UNSUPPORTED" });
    assert.equal(await readFile(rig.path("nix-cache-info"), "utf8"), text);
  });

  it("is of the store that we push from where it is new", async () => {
    await using rig = await createRig({ storeDir: "/my/store" });
    assert.equal((await rig.cache.info(signal)).storeDir, "/my/store");
    await assert.rejects(push(rig.cache, app), { code: "STORE_UNSUPPORTED" });
    assert.equal(await readFile(rig.path("nix-cache-info"), "utf8"), "StoreDir: /my/store\n");
  });

  it("may be a link to a folder", async () => {
    await using rig = await createRig();
    await mkdir(join(rig.parent, "disk"));
    await symlink("disk", rig.dir);
    await push(rig.cache, app);
    assert.deepEqual(await rig.cache.missing([hash], signal), new Set());
  });

  it("loses what killed writers left a day ago, and nothing that may still be written", async () => {
    const clock = createFakeClock(Date.now());
    await using rig = await createRig({ clock });
    await mkdir(rig.path("nar/.partial"), { recursive: true });
    await mkdir(rig.path(".partial/folder"), { recursive: true });
    const leave = async (name: string, ageMs: number): Promise<void> => {
      await writeFile(rig.path(name), "half");
      const seconds = (clock.now() - ageMs) / 1000;
      await utimes(rig.path(name), seconds, seconds);
    };
    const id = "-0b3c0f6e-98a4-4d5b-8f0e-1f2d3c4b5a69";
    await leave(`nar/.partial/old${id}`, ABANDONED_MS + 1000);
    await leave(`nar/.partial/young${id}`, ABANDONED_MS - 60_000);
    await leave(`.partial/old${id}`, ABANDONED_MS + 1000);
    await leave(`.partial/of-a-clock-ahead${id}`, -ABANDONED_MS);
    await leave(".partial/thesis.odt", 10 * ABANDONED_MS);
    await leave("nar/kept.nar", 10 * ABANDONED_MS);
    await push(rig.cache, app);
    assert.deepEqual(await readdir(rig.path("nar/.partial")), [`young${id}`]);
    const left = ["folder", `of-a-clock-ahead${id}`, "thesis.odt"];
    assert.deepEqual((await readdir(rig.path(".partial"))).toSorted(), left);
    assert.equal(await readFile(rig.path("nar/kept.nar"), "utf8"), "half");
  });
});

describe("FileCache.info()", () => {
  it("tells a private cache without keys of its own", async () => {
    await using rig = await createRig();
    assert.deepEqual(await rig.cache.info(signal), {
      readUrl: `file://${rig.dir}`,
      storeDir: "/nix/store",
      priority: undefined,
      publicKeys: undefined,
      isPublic: false,
      writable: true,
      preferredCompression: undefined,
    });
  });

  it("leaves out a slash at the end of its URL", async () => {
    await using rig = await createRig();
    const cache = createFileCache({ name: "usb", dir: `${rig.dir}/` });
    assert.equal((await cache.info(signal)).readUrl, `file://${rig.dir}`);
  });

  it("tells whether an ordinary user may write, also before the folder is there", async () => {
    await using rig = await createRig();
    const writable = (): unknown =>
      asProcessOfNobody(rig.dir, "(await cache.info(signal)).writable");
    await chmod(rig.parent, 0o777);
    assert.equal(writable(), true);
    await chmod(rig.parent, 0o555);
    assert.equal(writable(), false);
    await chmod(rig.parent, 0o755);
    await mkdir(rig.dir);
    await chmod(rig.dir, 0o777);
    assert.equal(writable(), true);
    await mkdir(rig.path("nar"));
    await chmod(rig.path("nar"), 0o555);
    assert.equal(writable(), false);
  });

  it("refuses a nix-cache-info that is none", async () => {
    await using rig = await createRig();
    await mkdir(rig.dir);
    const file = rig.path("nix-cache-info");
    const makes: Readonly<Record<string, () => unknown>> = {
      "it is a pipe": () => execFileSync("mkfifo", [file]),
      "it is a link": () => symlink("/etc/hostname", file),
      "it is a folder": () => mkdir(file),
      "it is larger than": () => writeFile(file, "x".repeat(100_000)),
      'expected lines "Key: value"': () => writeFile(file, "<html>\n"),
      "it is not UTF-8": () => writeFile(file, Buffer.from([0xff, 0xfe, 0x0a])),
    };
    for (const [message, make] of Object.entries(makes)) {
      await make();
      const expected = { code: "CACHE_PROTOCOL", message: new RegExp(message) };
      await assert.rejects(rig.cache.info(signal), expected, message);
      await assert.rejects(push(rig.cache, app), expected, message);
      await rm(file, { recursive: true });
    }
  });
});

describe("FileCache.missing()", () => {
  it("takes for missing what no reader gets", async () => {
    await using rig = await createRig();
    const file = rig.path(`${hash}.narinfo`);
    const makes: Readonly<Record<string, () => unknown>> = {
      "an empty file": () => truncate(file),
      "a huge file": () => truncate(file, 2 ** 20 + 1),
      "a pipe": () => execFileSync("mkfifo", [file]),
      "a link": () => symlink("/etc/hostname", file),
    };
    for (const [name, make] of Object.entries(makes)) {
      await push(rig.cache, app);
      assert.deepEqual(await rig.cache.missing([hash], signal), new Set(), name);
      if (/pipe|link/.test(name)) await rm(file);
      await make();
      const missing = await rig.cache.missing([hash], signal);
      assert.deepEqual(missing, new Set([hash]), name);
    }
    await push(rig.cache, app);
    assert.deepEqual(await rig.cache.missing([hash], signal), new Set());
  });

  it("takes for missing a path whose NAR is gone or has another size, until it is published again", async () => {
    await using rig = await createRig();
    const sample = sampleUpload({ name: "worn" });
    const hash = hashPartOf(sample.storePath);
    await push(rig.cache, sample);
    const [nar = ""] = (await readdir(rig.path("nar"))).filter((name) => name.includes(".nar"));
    for (const harm of [rm, (file: string) => truncate(file, 10)]) {
      await harm(rig.path("nar", nar));
      assert.deepEqual(await rig.cache.missing([hash], signal), new Set([hash]));
      await push(rig.cache, sample);
      assert.deepEqual(await rig.cache.missing([hash], signal), new Set());
    }
  });

  it("reads NARs where it is told to, and takes for missing one that has other bytes", async () => {
    await using rig = await createRig();
    const samples = [sampleUpload({ name: "sound" }), sampleUpload({ name: "rotten" })];
    for (const sample of samples) await push(rig.cache, sample);
    const [sound, rotten] = samples.map(({ storePath }) => hashPartOf(storePath));
    assert.ok(sound !== undefined && rotten !== undefined);
    const url = parseNarInfo(await readFile(rig.path(`${rotten}.narinfo`), "utf8")).url;
    const bytes = await readFile(rig.path(url));
    bytes[20] = (bytes[20] ?? 0) ^ 1;
    await writeFile(rig.path(url), bytes);
    const missing = (closeness: Closeness): Promise<Set<string>> =>
      rig.cache.missing([sound, rotten], signal, { closeness });
    assert.deepEqual(await missing("narinfo"), new Set());
    assert.deepEqual(await missing("nar"), new Set());
    assert.deepEqual(await missing("bytes"), new Set([rotten]));
    for (const sample of samples) await push(rig.cache, sample);
    assert.deepEqual(await missing("bytes"), new Set());
    await assert.rejects(
      rig.cache.missing([sound], AbortSignal.abort(new Error("stop")), { closeness: "bytes" }),
      /stop/,
    );
  });

  it("takes for missing what nobody signed, if we sign", async () => {
    await using rig = await createRig();
    const signatures = [`other-1:${Buffer.alloc(64).toString("base64")}`];
    const samples = [
      sampleUpload({ name: "bare" }),
      sampleUpload({ name: "signed", signatures }),
      sampleUpload({ name: "text", info: ADDRESSED }),
    ];
    for (const sample of samples) await push(rig.cache, sample);
    const hashes = samples.map(({ request }) => hashPartOf(request.info.path));
    assert.deepEqual(await rig.cache.missing(hashes, signal), new Set());
    await using signing = createFileCache({ name: "usb", dir: rig.dir, keys: SIGNING_KEYS });
    assert.deepEqual(await signing.missing(hashes, signal), new Set(hashes.slice(0, 1)));
  });

  it("takes for missing what it may not read", async () => {
    await using rig = await createRig();
    await push(rig.cache, app);
    await chmod(rig.parent, 0o755);
    const missing = (): unknown =>
      asProcessOfNobody(rig.dir, `(await cache.missing(["${hash}"], signal)).size`);
    assert.equal(missing(), 0);
    await chmod(rig.path(`${hash}.narinfo`), 0o000);
    assert.equal(missing(), 1);
  });

  it("asks for thousands of paths", async () => {
    await using rig = await createRig();
    await push(rig.cache, app);
    const asked = Array.from({ length: 3000 }, (_, n) =>
      hashPartOf(sampleUpload({ name: `n${n}` }).storePath),
    );
    const missing = await rig.cache.missing([...asked, hash], signal);
    assert.deepEqual(missing, new Set(asked));
  });
});

describe("a folder that is unfit", () => {
  it("is told where it is a file, and where a link leads nowhere", async () => {
    await using rig = await createRig();
    const expected = (found: string): object => ({
      code: "CACHE_NOT_FOUND",
      message: `Cannot use ${JSON.stringify(rig.dir)} as a cache: expected a folder, ${found}`,
    });
    await writeFile(rig.dir, "");
    await assert.rejects(rig.cache.missing([hash], signal), expected("it is a file"));
    await assert.rejects(rig.cache.info(signal), expected("it is a file"));
    await assert.rejects(push(rig.cache, app), expected("it is a file"));
    await rm(rig.dir);
    await symlink("nowhere", rig.dir);
    const found = "it is a link that leads nowhere";
    await assert.rejects(rig.cache.missing([hash], signal), expected(found));
    await assert.rejects(push(rig.cache, app), expected(found));
  });

  it("is not made where the disk it lies on is not mounted", async () => {
    await using rig = await createRig();
    const cache = createFileCache({ name: "usb", dir: join(rig.parent, "disk/cache") });
    const expected = { code: "CACHE_UNAVAILABLE", message: /disk" does not exist$/ };
    await assert.rejects(cache.missing([hash], signal), expected);
    await assert.rejects(cache.info(signal), expected);
    await assert.rejects(push(cache, app), expected);
    assert.deepEqual(await readdir(rig.parent), []);
    await mkdir(join(rig.parent, "disk"));
    await push(cache, app);
  });

  it("is not made below a file, which no disk would change", async () => {
    await using rig = await createRig();
    const file = join(rig.parent, "toy.nix");
    await writeFile(file, "");
    for (const name of ["x", "x/y"]) {
      const cache = createFileCache({ name: "usb", dir: join(file, name) });
      const expected = { code: "CACHE_NOT_FOUND", message: /toy\.nix" is a file$/ };
      await assert.rejects(cache.info(signal), expected);
      await assert.rejects(push(cache, app), expected);
    }
  });

  it("is written nowhere else by links in it", async () => {
    await using rig = await createRig();
    const outside = join(rig.parent, "outside");
    for (const name of ["nar", ".partial", "nar/.partial"]) {
      await mkdir(outside);
      await mkdir(rig.path("nar"), { recursive: true });
      await rm(rig.path(name), { recursive: true, force: true });
      await symlink(outside, rig.path(name));
      const expected = { code: "CACHE_NOT_FOUND", message: /it is a link$/ };
      await assert.rejects(rig.cache.info(signal), expected, name);
      await assert.rejects(push(rig.cache, app), expected, name);
      assert.deepEqual(await readdir(outside), [], name);
      for (const folder of [outside, rig.dir]) await rm(folder, { recursive: true });
    }
  });

  it("loses a link that has the name of a file, and keeps what it leads to", async () => {
    await using rig = await createRig();
    const precious = join(rig.parent, "precious");
    await mkdir(rig.path("nar"), { recursive: true });
    await writeFile(precious, "precious");
    await symlink(precious, rig.path(`${hash}.narinfo`));
    await symlink(precious, rig.path("nar", narName));
    await push(rig.cache, app);
    assert.equal(await readFile(precious, "utf8"), "precious");
    assert.equal((await stat(rig.path("nar", narName))).size, app.file.length);
    assert.deepEqual(await rig.cache.missing([hash], signal), new Set());
  });

  it("says that a folder has the name of a file, and leaves it there", async () => {
    await using rig = await createRig();
    for (const name of [`${hash}.narinfo`, `nar/${narName}`]) {
      await mkdir(rig.path(name, "x"), { recursive: true });
      await assert.rejects(push(rig.cache, app), { code: "UPLOAD_REJECTED", message: /its name/ });
      await rm(rig.path(name), { recursive: true });
      await rm(rig.path("nar", narName), { force: true });
      assert.deepEqual(await readdir(rig.path("nar/.partial")), []);
    }
    await push(rig.cache, app);
  });

  it("says that it may not be written", async () => {
    await using rig = await createRig();
    const tryPush = (): Promise<void> => asOrdinaryUser(() => push(rig.cache, app));
    const expected = { code: "CACHE_READ_ONLY", message: /permission denied/ };
    await chmod(rig.parent, 0o555);
    await assert.rejects(tryPush(), expected);
    await chmod(rig.parent, 0o755);
    await push(rig.cache, app);
    await chmod(rig.path("nar/.partial"), 0o555);
    await assert.rejects(tryPush(), expected);
    await chmod(rig.path("nar/.partial"), 0o755);
  });

  it("says that it has vanished while it was written to", async () => {
    await using rig = await createRig();
    const upload = await begin(rig.cache, app);
    await rm(rig.dir, { recursive: true });
    const expected = { code: "CACHE_UNAVAILABLE", message: /"app" to cache "usb": .* is gone$/ };
    await assert.rejects(upload.publish(app.packed, signal), expected);
    await upload.abort();
    const { code } = expected;
    await assert.rejects(begin(rig.cache, sampleUpload({ name: "next" })), { code });
    assert.deepEqual(await readdir(rig.parent), []);
  });
});

describe("FileUpload.publish()", () => {
  it("refuses a file of another size than was sent", async () => {
    await using rig = await createRig();
    const upload = await begin(rig.cache, app);
    const packed = { ...app.packed, fileSize: app.packed.fileSize + 1 };
    await assert.rejects(upload.publish(packed, signal), { code: "UPLOAD_REJECTED" });
    await upload.abort();
    assert.deepEqual(await rig.cache.missing([hash], signal), new Set([hash]));
  });

  it("publishes nothing after an interruption", async () => {
    await using rig = await createRig();
    const upload = await begin(rig.cache, app);
    const reason = new Error("stop");
    await assert.rejects(upload.publish(app.packed, AbortSignal.abort(reason)), reason);
    await upload.abort();
    assert.deepEqual(await rig.cache.missing([hash], signal), new Set([hash]));
  });

  it("takes hundreds of paths whose NARs wait, with few files open", async () => {
    await using rig = await createRig();
    const samples = Array.from({ length: 300 }, (_, n) =>
      sampleUpload({ name: `n${n}`, parts: 2 }),
    );
    const uploads = await Promise.all(samples.map((sample) => begin(rig.cache, sample)));
    const open = await readdir("/proc/self/fd").catch(() => []);
    assert.ok(open.length < 150, `${open.length} files are open`);
    await Promise.all(
      uploads.map((upload, n) => upload.publish(samples[n]?.packed ?? app.packed, signal)),
    );
    const hashes = samples.map(({ storePath }) => hashPartOf(storePath));
    assert.deepEqual(await rig.cache.missing(hashes, signal), new Set());
    for (const { file, packed } of samples) {
      const name = `${packed.fileHash.slice("sha256:".length)}.nar.zst`;
      assert.deepEqual(await readFile(rig.path("nar", name)), file);
    }
  });
});
