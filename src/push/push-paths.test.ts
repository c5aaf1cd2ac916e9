import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";

import { makeTasks } from "../../test/push-tasks.ts";
import { tempDir } from "../../test/temp.ts";
import type {
  Cache,
  CacheCompanions,
  CacheTraits,
  Companion,
  PackedFile,
  UploadRequest,
} from "../cache/contract.ts";
import { HandpickError } from "../error.ts";
import type { ErrorCode } from "../error.ts";
import { sha256FromDigest } from "../nix/hash.ts";
import { hashPartOf, nameOf } from "../nix/store-path.ts";
import { CachePacker, type CachePackerOptions } from "./cache-packer.ts";
import type { CompanionLack, PushEvent } from "./events.ts";
import { pushPaths } from "./push-paths.ts";
import type { PushOptions, PushTask } from "./push-paths.ts";
import { SharedPacker } from "./shared-packer.ts";

type Step = "begin" | "part" | "companion" | "publish" | "abort";

/** The signal is that of the start of an upload. */
type Interfere = (step: Step, name: string, signal: AbortSignal) => Promise<void> | void;

/** A cache in memory that notes what is asked of it and lets a test interfere. */
class RecordingCache implements Cache {
  readonly name = "mine";
  traits: CacheTraits;
  readonly log: string[] = [];
  /** The numbers of parts. */
  readonly parts: number[] = [];
  readonly published: (UploadRequest & PackedFile)[] = [];
  /** The small files that came. */
  readonly files: Companion[] = [];
  readonly #interfere: Interfere;

  constructor(interfere: Interfere = () => undefined, closureRule: "cache" | "client" = "cache") {
    this.#interfere = interfere;
    this.traits = {
      compressions: new Set(["zstd"]),
      closureRule,
      signer: "either",
      parts: {
        inOrder: false,
        minBytes: 5 << 20,
        maxParts: 10_000,
        md5: true,
        lifetimeMs: 300_000,
      },
    };
  }

  readonly beginUpload: Cache["beginUpload"] = async (request, signal) => {
    const name = nameOf(request.info.path);
    const note = async (step: Step): Promise<void> => {
      this.log.push(`${step} ${name}`);
      await this.#interfere(step, name, signal);
    };
    await note("begin");
    return {
      putPart: ({ number }) => {
        this.parts.push(number);
        return note("part");
      },
      publish: async (file) => {
        await note("publish");
        this.published.push({ ...request, ...file });
      },
      abort: () => note("abort"),
    };
  };

  readonly companions: CacheCompanions = {
    missing: (): never => assert.fail("not asked while pushing"),
    put: async (companion, signal) => {
      this.files.push(companion);
      this.log.push(`companion ${companion.name}`);
      await this.#interfere("companion", companion.name, signal);
    },
  };
  readonly info = (): never => assert.fail("not asked while pushing");
  readonly missing = (): never => assert.fail("not asked while pushing");
  [Symbol.asyncDispose] = async (): Promise<void> => undefined;
}

interface Outcome {
  readonly events: PushEvent[];
  /** `pushed a`, `failed b`, … sorted. */
  readonly ends: string[];
}

async function push(
  tasks: readonly PushTask[],
  cache: Cache,
  { listings = false, ...options }: Partial<PushOptions> & CachePackerOptions = {},
): Promise<Outcome> {
  await using shared = new SharedPacker({ threads: 2 });
  await using packer = new CachePacker(shared, { listings });
  const events: PushEvent[] = [];
  await pushPaths(tasks, {
    cache,
    packer,
    compression: "zstd",
    level: undefined,
    signaturesOf: () => [],
    signal: new AbortController().signal,
    onEvent: (event) => events.push(event),
    ...options,
  });
  const ended = events.filter(({ event }) => event !== "start" && event !== "sent");
  return { events, ends: ended.map(({ event, path }) => `${event} ${nameOf(path)}`).toSorted() };
}

describe("pushPaths() with listings", () => {
  it("puts the listing of each path before the path is published", async () => {
    await using temp = await tempDir();
    const tasks = makeTasks(temp.dir, { lib: [], app: ["lib"] });
    const cache = new RecordingCache();
    await push(tasks, cache, { listings: true });
    for (const { info } of tasks) {
      const [name, file] = [nameOf(info.path), `${hashPartOf(info.path)}.ls`];
      const steps = ["begin", "part"].map((step) => `${step} ${name}`);
      steps.push(`companion ${file}`, `publish ${name}`);
      assert.deepEqual(
        cache.log.filter((line) => steps.includes(line)),
        steps,
      );
      const listing = cache.files.find((companion) => companion.name === file);
      assert.equal(listing?.contentType, "application/json");
      const { root } = JSON.parse(Buffer.from(listing.bytes).toString());
      assert.equal(root.type, "regular");
    }
  });

  it("pushes a path without one where a name in it is not UTF-8, and tells of that", async () => {
    await using temp = await tempDir();
    const folder = join(temp.dir, "f");
    mkdirSync(folder);
    writeFileSync(Buffer.concat([Buffer.from(`${folder}/`), Buffer.of(0xff)]), "");
    const nar = execFileSync("nix-store", ["--dump", folder]);
    const [task] = makeTasks(temp.dir, { odd: [] });
    assert.ok(task);
    const narHash = sha256FromDigest(createHash("sha256").update(nar).digest());
    const odd = { physicalPath: folder, info: { ...task.info, narHash, narSize: nar.length } };
    const cache = new RecordingCache();
    const lacks: CompanionLack[] = [];
    const { ends } = await push([odd], cache, {
      listings: true,
      onLack: (lack) => lacks.push(lack),
    });
    assert.deepEqual(ends, ["pushed odd"]);
    assert.deepEqual(cache.files, []);
    const why = "a name in it is not UTF-8";
    assert.deepEqual(lacks, [{ path: task.info.path, what: "listing", why }]);
  });

  it("fails a path whose listing the cache does not take, and gives the upload up", async () => {
    await using temp = await tempDir();
    const cache = new RecordingCache((step) => {
      if (step === "companion") refuse("UPLOAD_REJECTED");
    });
    const tasks = makeTasks(temp.dir, { a: [] });
    const { ends } = await push(tasks, cache, { listings: true });
    assert.deepEqual(ends, ["failed a"]);
    const file = tasks.map(({ info }) => `companion ${hashPartOf(info.path)}.ls`);
    assert.deepEqual(cache.log, ["begin a", "part a", ...file, "abort a"]);
  });
});

const singleBody = (traits: CacheTraits): CacheTraits => ({
  ...traits,
  parts: { ...traits.parts, inOrder: true },
});

const refuse = (code: ErrorCode): never => {
  throw new HandpickError(code, "no");
};

describe("pushPaths()", () => {
  it("pushes every path once with what the store and the packer know of it", async () => {
    await using temp = await tempDir();
    const tasks = makeTasks(temp.dir, { lib: [], app: ["lib", "app"] });
    const cache = new RecordingCache();
    const { events, ends } = await push(tasks, cache);
    assert.deepEqual(ends, ["pushed app", "pushed lib"]);
    const app = cache.published.find(({ info }) => nameOf(info.path) === "app");
    assert.equal(app?.info.narHash, tasks[1]?.info.narHash);
    assert.deepEqual(app?.info.references, tasks[1]?.info.references);
    const sent = events.findLast(({ event, path }) => event === "sent" && nameOf(path) === "app");
    assert.ok(sent?.event === "sent");
    assert.equal(sent.sentBytes, app?.fileSize);
    assert.equal(sent.narBytes, app?.info.narSize);
    assert.ok(!cache.log.some((line) => line.startsWith("abort")));
  });

  it("sends one part after the other to a cache that takes a single body", async () => {
    await using temp = await tempDir();
    const tasks = makeTasks(temp.dir, { large: [] }, randomBytes((24 << 20) + 1_000));
    let [atOnce, most] = [0, 0];
    const cache = new RecordingCache(async (step) => {
      if (step !== "part") return;
      most = Math.max(most, ++atOnce);
      // The last part is small enough to overtake.
      await nextTurn();
      atOnce -= 1;
    });
    cache.traits = singleBody(cache.traits);
    const { ends } = await push(tasks, cache);
    assert.deepEqual(ends, ["pushed large"]);
    assert.deepEqual([cache.parts, most], [[1, 2, 3, 4], 1]);
  });

  it("sends no part after one that a single body lacks", async () => {
    await using temp = await tempDir();
    const tasks = makeTasks(temp.dir, { large: [] }, randomBytes(24 << 20));
    const cache = new RecordingCache((step) => {
      if (step === "part" && cache.parts.length === 2) refuse("UPLOAD_REJECTED");
    });
    cache.traits = singleBody(cache.traits);
    assert.deepEqual((await push(tasks, cache)).ends, ["failed large"]);
    assert.deepEqual(cache.parts, [1, 2]);
  });

  it("begins no path of a single body before its references are there", async () => {
    await using temp = await tempDir();
    const tasks = makeTasks(temp.dir, { a: [], b: ["a"], c: ["b", "c"], d: [] });
    const later = Promise.withResolvers<void>();
    const cache: RecordingCache = new RecordingCache(async (step, name) => {
      if (step === "publish" && name === "a") await later.promise;
      if (step === "publish" && name === "d") later.resolve();
    }, "client");
    cache.traits = singleBody(cache.traits);
    await push(tasks, cache);
    const lines = (name: string): number[] =>
      ["begin", "part", "publish"].map((step) => cache.log.indexOf(`${step} ${name}`));
    assert.ok(Math.max(...lines("a")) < Math.min(...lines("b")));
    assert.ok(Math.max(...lines("b")) < Math.min(...lines("c")));
  });

  it("holds a path of a single body whose reference fails, without beginning it", async () => {
    await using temp = await tempDir();
    const tasks = makeTasks(temp.dir, { bad: [], user: ["bad"], far: ["user"], good: [] });
    const cache = new RecordingCache((step, name) => {
      if (step === "publish" && name === "bad") refuse("UPLOAD_INTERRUPTED");
    }, "client");
    cache.traits = singleBody(cache.traits);
    const { ends } = await push(tasks, cache);
    assert.deepEqual(ends, ["failed bad", "held far", "held user", "pushed good"]);
    assert.ok(!cache.log.some((line) => /user|far/.test(line)));
  });

  it("has no more single bodies open than paths on their way, however many wait", async () => {
    await using temp = await tempDir();
    const names = Array.from({ length: 200 }, (_, index) => `n${index}`);
    const graph = Object.fromEntries(
      names.map((name, index) => [name, index === 0 ? [] : ["n0", ...(index % 2 ? ["n1"] : [])]]),
    );
    let [open, most] = [0, 0];
    const cache = new RecordingCache(async (step) => {
      if (step === "begin") most = Math.max(most, (open += 1));
      await nextTurn();
      if (step === "publish") open -= 1;
    }, "client");
    cache.traits = singleBody(cache.traits);
    const { ends } = await push(makeTasks(temp.dir, graph), cache);
    assert.equal(ends.filter((end) => end.startsWith("pushed")).length, 200);
    assert.ok(most <= 64, `${most} at once`);
  });

  it("lets go of those that wait for their references when it is interrupted", async () => {
    await using temp = await tempDir();
    const interrupted = new AbortController();
    const cache = new RecordingCache((step) => {
      if (step !== "publish") return;
      interrupted.abort(new Error("Interrupted"));
      interrupted.signal.throwIfAborted();
    }, "client");
    cache.traits = singleBody(cache.traits);
    const tasks = makeTasks(temp.dir, { a: [], b: ["a"], c: ["b"] });
    const pushing = push(tasks, cache, { signal: interrupted.signal });
    await assert.rejects(pushing, /Interrupted/);
    assert.deepEqual(cache.log, ["begin a", "part a", "publish a", "abort a"]);
  });

  it("counts what was sent upwards, although parts finish out of order", async () => {
    await using temp = await tempDir();
    const tasks = makeTasks(temp.dir, { large: [] }, randomBytes(20 << 20));
    const later = Promise.withResolvers<void>();
    let parts = 0;
    const cache = new RecordingCache(async (step) => {
      if (step !== "part") return;
      parts += 1;
      if (parts === 1) await later.promise;
      else setImmediate(later.resolve);
    });
    const { events } = await push(tasks, cache);
    const sent = events.flatMap((one) => (one.event === "sent" ? [one] : []));
    assert.equal(sent.length, 3);
    assert.ok((sent[0]?.narBytes ?? 0) > 0);
    for (const [index, { narBytes, sentBytes }] of sent.entries()) {
      const next = sent[index + 1];
      if (next === undefined) continue;
      assert.ok(narBytes <= next.narBytes && sentBytes < next.sentBytes);
    }
    assert.equal(sent.at(-1)?.narBytes, tasks[0]?.info.narSize);
    assert.equal(sent.at(-1)?.sentBytes, cache.published[0]?.fileSize);
  });

  it("gives the cache the signatures of a path, whose size is measured where it is not known", async () => {
    await using temp = await tempDir();
    const cache = new RecordingCache();
    const [task] = makeTasks(temp.dir, { lib: [] });
    assert.ok(task);
    const signaturesOf: PushOptions["signaturesOf"] = ({ narSize }) => [`a:${narSize}`, "b:x"];
    await push([{ ...task, info: { ...task.info, narSize: 0 } }], cache, { signaturesOf });
    const { narSize } = task.info;
    assert.deepEqual(cache.published[0]?.signatures, [`a:${narSize}`, "b:x"]);
    assert.equal(cache.published[0]?.info.narSize, narSize);
  });

  it("publishes nothing before the NARs of all its references are stored", async () => {
    await using temp = await tempDir();
    const tasks = makeTasks(temp.dir, { a: [], b: ["a"], c: ["b"] });
    const late = Promise.withResolvers<void>();
    const cache = new RecordingCache(async (step, name) => {
      if (step === "part" && name === "a") await late.promise;
      if (step === "part" && name === "c") setImmediate(late.resolve);
    });
    await push(tasks, cache);
    const partOfA = cache.log.indexOf("part a");
    for (const name of ["b", "c"]) assert.ok(cache.log.indexOf(`publish ${name}`) > partOfA);
  });

  it("publishes references first where the cache leaves the closure rule to us", async () => {
    await using temp = await tempDir();
    const tasks = makeTasks(temp.dir, { a: [], b: ["a"], c: ["b"] });
    const publishedWhenAsked: string[] = [];
    const cache: RecordingCache = new RecordingCache((step, name) => {
      if (step !== "publish") return;
      publishedWhenAsked.push(`${name} after ${cache.published.length}`);
    }, "client");
    await push(tasks, cache);
    assert.deepEqual(publishedWhenAsked, ["a after 0", "b after 1", "c after 2"]);
  });

  it("does not wait for one publication after the other where the cache keeps the rule", async () => {
    await using temp = await tempDir();
    const names = Array.from({ length: 40 }, (_, index) => `n${index}`);
    const chain = Object.fromEntries(
      names.map((name, i) => [name, names.slice(Math.max(i - 1, 0), i)]),
    );
    const all = Promise.withResolvers<void>();
    let waiting = 0;
    const cache = new RecordingCache(async (step) => {
      if (step !== "publish") return;
      waiting += 1;
      if (waiting === names.length) all.resolve();
      await all.promise;
    });
    const { ends } = await push(makeTasks(temp.dir, chain), cache);
    assert.equal(ends.length, 40);
  });

  it("never sends a corrupt path, holds what needs it, pushes the rest", async () => {
    await using temp = await tempDir();
    const tasks = makeTasks(temp.dir, { bad: [], user: ["bad"], far: ["user"], good: [] });
    writeFileSync(`${temp.dir}/bad`, "contents of bae");
    const cache = new RecordingCache();
    const { events, ends } = await push(tasks, cache);
    assert.deepEqual(ends, ["failed bad", "held far", "held user", "pushed good"]);
    const failed = events.find(({ event }) => event === "failed");
    assert.equal(failed?.event === "failed" && failed.error.code, "STORE_PATH_CORRUPT");
    assert.deepEqual(
      cache.published.map(({ info }) => nameOf(info.path)),
      ["good"],
    );
    assert.deepEqual(cache.log.filter((line) => line.startsWith("abort")).toSorted(), [
      "abort bad",
      "abort far",
      "abort user",
    ]);
    assert.ok(!cache.log.includes("part bad"));
  });

  it("goes on after a path that was collected meanwhile or refused for itself", async () => {
    await using temp = await tempDir();
    const tasks = makeTasks(temp.dir, { gone: [], refused: [], good: [] });
    tasks[0] = { ...(tasks[0] as PushTask), physicalPath: `${temp.dir}/nowhere` };
    const cache = new RecordingCache((step, name) => {
      if (step === "publish" && name === "refused") refuse("UPLOAD_REJECTED");
    });
    const { events, ends } = await push(tasks, cache);
    assert.deepEqual(ends, ["failed gone", "failed refused", "pushed good"]);
    const codes = events.flatMap((one) => (one.event === "failed" ? [one.error.code] : []));
    assert.deepEqual(codes.toSorted(), ["STORE_PATH_GONE", "UPLOAD_REJECTED"]);
  });

  it("reports no path as pushed that stays hidden behind one that could not be published", async () => {
    await using temp = await tempDir();
    const graph = { bad: [], user: ["bad"], far: ["user"], good: [] };
    const cache = new RecordingCache((step, name) => {
      if (step === "publish" && name === "bad") refuse("UPLOAD_REJECTED");
    });
    const { events, ends } = await push(makeTasks(temp.dir, graph), cache);
    assert.deepEqual(ends, ["failed bad", "held far", "held user", "pushed good"]);
    const held = events.find((one) => one.event === "held" && nameOf(one.path) === "user");
    assert.ok(held?.event === "held");
    assert.equal(held.reason.because?.state, "hides");
    assert.equal(nameOf(held.reason.because.path), "bad");
    assert.ok(!cache.log.includes("abort user"));
  });

  for (const code of [
    "CACHE_REFUSED",
    "CACHE_READ_ONLY",
    "CACHE_NOT_FOUND",
    "KEY_MISMATCH",
  ] as const) {
    it(`stops the whole run with the error when the cache refuses us: ${code}`, async () => {
      await using temp = await tempDir();
      const tasks = makeTasks(temp.dir, { a: [], b: [], c: [] });
      const cache = new RecordingCache((step, name) => {
        if (step === "begin" && name === "b") refuse(code);
      });
      await assert.rejects(push(tasks, cache), { code });
    });
  }

  it("pushes more paths than are on their way at once, each in need of the one before", async () => {
    await using temp = await tempDir();
    const names = Array.from({ length: 200 }, (_, index) => `n${index}`);
    const chain = names.map((name, index) => [name, names.slice(Math.max(index - 1, 0), index)]);
    const { ends } = await push(
      makeTasks(temp.dir, Object.fromEntries(chain)),
      new RecordingCache(undefined, "client"),
    );
    assert.deepEqual(ends, names.map((name) => `pushed ${name}`).toSorted());
  });

  it("takes the size of a path from its files where the store did not record it", async () => {
    await using temp = await tempDir();
    const [task] = makeTasks(temp.dir, { old: [] });
    assert.ok(task !== undefined);
    const cache = new RecordingCache();
    const { ends } = await push([{ ...task, info: { ...task.info, narSize: 0 } }], cache);
    assert.deepEqual(ends, ["pushed old"]);
    assert.equal(cache.published[0]?.info.narSize, task.info.narSize);
  });

  it("does not try every path during an outage", async () => {
    await using temp = await tempDir();
    const names = Array.from({ length: 200 }, (_, index) => [`n${index}`, []] as const);
    const cache = new RecordingCache((step) => {
      if (step === "begin") refuse("CACHE_UNAVAILABLE");
    });
    const { ends } = await push(makeTasks(temp.dir, Object.fromEntries(names)), cache);
    assert.equal(ends.filter((end) => end.startsWith("failed")).length, 200);
    assert.ok(cache.log.length <= 64, `${cache.log.length} attempts`);
  });

  it("reports a mistake of ours as unexpected and goes on", async () => {
    await using temp = await tempDir();
    const cache = new RecordingCache((step, name) => {
      if (step === "publish" && name === "a") throw new TypeError("oops");
    });
    const { events } = await push(makeTasks(temp.dir, { a: [], b: [] }), cache);
    const failed = events.find(({ event }) => event === "failed");
    assert.deepEqual(failed?.event === "failed" && failed.error, {
      code: "UNEXPECTED",
      message: "oops",
    });
  });

  it("gives up an upload whose start was not answered yet when it is interrupted", async () => {
    await using temp = await tempDir();
    const interrupted = new AbortController();
    const cache = new RecordingCache((step) => {
      if (step === "begin") interrupted.abort(new Error("Interrupted"));
    });
    const pushing = push(makeTasks(temp.dir, { a: [] }), cache, { signal: interrupted.signal });
    await assert.rejects(pushing, /Interrupted/);
    assert.deepEqual(cache.log, ["begin a", "abort a"]);
  });

  it("waits a moment for the start of an upload when it is interrupted, to give it up", async () => {
    await using temp = await tempDir();
    const interrupted = new AbortController();
    const cache = new RecordingCache(async (step, _name, signal) => {
      if (step !== "begin") return;
      interrupted.abort(new Error("Interrupted"));
      await new Promise((resolve) => void setImmediate(resolve));
      signal.throwIfAborted();
    });
    const pushing = push(makeTasks(temp.dir, { a: [] }), cache, { signal: interrupted.signal });
    await assert.rejects(pushing, /Interrupted/);
    assert.deepEqual(cache.log, ["begin a", "abort a"]);
  });

  it("does not wait longer for the start of an upload that never comes", async () => {
    await using temp = await tempDir();
    const interrupted = new AbortController();
    const connection = setInterval(() => undefined, 1_000); // keeps the process alive, as one does
    const started = performance.now();
    const cache = new RecordingCache(async (step, _name, signal) => {
      if (step !== "begin") return;
      interrupted.abort(new Error("Interrupted"));
      await once(signal, "abort", { signal: AbortSignal.timeout(5_000) });
      signal.throwIfAborted();
    });
    const pushing = push(makeTasks(temp.dir, { a: [] }), cache, { signal: interrupted.signal });
    await assert.rejects(pushing, /Interrupted/);
    clearInterval(connection);
    assert.deepEqual(cache.log, ["begin a"]);
    assert.ok(performance.now() - started < 4_000);
  });

  it("aborts every upload and throws the reason when it is interrupted", async () => {
    await using temp = await tempDir();
    const tasks = makeTasks(temp.dir, { a: [], b: ["a"] });
    const interrupted = new AbortController();
    const cache = new RecordingCache(async (step, name) => {
      if (step !== "part" || name !== "a") return;
      interrupted.abort(new Error("Interrupted"));
      interrupted.signal.throwIfAborted();
    });
    const events: PushEvent[] = [];
    const onEvent = (event: PushEvent): void => void events.push(event);
    const pushing = push(tasks, cache, { signal: interrupted.signal, onEvent });
    await assert.rejects(pushing, /Interrupted/);
    assert.ok(cache.log.includes("abort a"));
    assert.deepEqual(cache.published, []);
    assert.ok(events.length > 0 && !events.some(({ event }) => event === "failed"));
  });
});
