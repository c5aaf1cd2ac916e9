import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { describe, it } from "node:test";
import { gzipSync, zstdCompressSync } from "node:zlib";

import { type Graph, toyPath } from "../../test/toy-paths.ts";
import type { CacheReader } from "../cache/reader.ts";
import { HandpickError } from "../error.ts";
import { FormatError } from "../nix/format-error.ts";
import { parseSha256, type Sha256 } from "../nix/hash.ts";
import { generateSecretKey, publicKeyOf } from "../nix/key.ts";
import type { NarCompression, NarInfo } from "../nix/narinfo.ts";
import { fingerprint, signFingerprint } from "../nix/signature.ts";
import { nameOf, parseStorePath } from "../nix/store-path.ts";
import type { Source } from "./source.ts";
import { walk } from "./walk.ts";

const { signal } = new AbortController();
const key = generateSecretKey("cache-1");
const stranger = generateSecretKey("stranger-1");
const KEYS = [publicKeyOf(key)];
const GRAPH: Graph = { tool: ["app", "tool"], app: ["lib"], lib: [] };

function narInfoOf(name: string, by = key): NarInfo {
  const unsigned: NarInfo = {
    storePath: toyPath(name),
    url: `nar/${name}`,
    compression: "none",
    fileHash: undefined,
    fileSize: 100,
    narHash: `sha256:${"0".repeat(52)}` as Sha256,
    narSize: 100,
    references: (GRAPH[name] ?? []).map(toyPath),
    deriver: undefined,
    system: undefined,
    signatures: [],
    ca: undefined,
  };
  return { ...unsigned, signatures: [signFingerprint(fingerprint(unsigned), by)] };
}

interface Fake {
  readonly names: readonly string[] | "any";
  readonly change?: (narInfo: NarInfo) => NarInfo;
  readonly sizes?: Readonly<Record<string, number | undefined>>;
  readonly failure?: Error;
}

function sourceOf(url: string, { names, change = (one) => one, sizes = {}, failure }: Fake) {
  const asked: string[] = [];
  const reader: CacheReader = {
    url,
    info: async () => ({ storeDir: "/nix/store", priority: undefined }),
    async narInfo(path) {
      asked.push(nameOf(path));
      if (failure !== undefined) throw failure;
      return names === "any" || names.includes(nameOf(path))
        ? change(narInfoOf(nameOf(path)))
        : undefined;
    },
    async narSize(nar) {
      const name = nar.slice("nar/".length);
      return Object.hasOwn(sizes, name) ? sizes[name] : 100;
    },
    nar: () => assert.fail(),
    async [Symbol.asyncDispose]() {},
  };
  const source: Source = { reader, keys: KEYS, looksAtNars: true };
  return { source, asked };
}

describe("walk()", () => {
  it("follows references, asking upstreams only for what the cache lacks", async () => {
    const cache = sourceOf("https://cache", { names: ["tool", "app"] });
    const upstream = sourceOf("https://up", { names: ["lib"] });
    const { served, holes } = await walk([toyPath("tool")], [cache.source, upstream.source], {
      signal,
    });
    assert.deepEqual([...served.keys()].map(nameOf), ["tool", "app", "lib"]);
    assert.equal(served.get(toyPath("lib"))?.source, upstream.source);
    assert.equal(holes.size, 0);
    assert.deepEqual([cache.asked, upstream.asked], [["tool", "app", "lib"], ["lib"]]);
  });

  for (const [code, fake] of [
    ["missing", { names: ["tool"] }],
    ["unsigned", { names: ["tool", "app"], change: (one) => ({ ...one, signatures: [] }) }],
    [
      "untrusted",
      { names: ["tool", "app"], change: ({ storePath }) => narInfoOf(nameOf(storePath), stranger) },
    ],
    ["untrusted", { names: ["tool", "app"], change: (one) => ({ ...one, narSize: 99 }) }],
    ["nar-missing", { names: ["tool", "app"], sizes: { app: undefined } }],
    ["nar-size", { names: ["tool", "app"], sizes: { app: 99 } }],
    ["damaged", { names: [], failure: new FormatError("narinfo", "something else") }],
  ] satisfies readonly (readonly [string, Fake])[]) {
    it(`says that a path is ${code}`, async () => {
      const { source } = sourceOf("https://cache", fake);
      const { holes, served } = await walk([toyPath("app")], [source], { signal });
      assert.equal(served.size, 0);
      const faults = holes.get(toyPath("app"))?.faults.map((fault) => [fault.code, fault.server]);
      assert.deepEqual(faults, [[code, "https://cache"]]);
    });
  }

  describe("of a path with a content address", () => {
    const path = parseStorePath("/nix/store/asinc35540f0q79m1s9g7ryai30whgxx-tree");
    const narHash = parseSha256("sha256:0x8rfwm8ahk1g7chxpm8ij2nhvzxiryknb33py3dha2qxw5fkgr9");
    const ca = `fixed:r:${narHash}`;
    const codeOf = async (own: Partial<NarInfo>): Promise<string | undefined> => {
      const change = (one: NarInfo): NarInfo => ({
        ...one,
        storePath: path,
        signatures: [],
        narHash,
        ca,
        ...own,
      });
      const { source } = sourceOf("https://cache", { names: ["tree"], change });
      const { served, holes } = await walk([path], [source], { signal });
      return served.has(path) ? "served" : holes.get(path)?.faults[0]?.code;
    };

    it("takes it without a signature if the address gives the path", async () => {
      assert.equal(await codeOf({}), "served");
    });

    it("takes no address of another path, nor of another NAR", async () => {
      const other = `fixed:r:sha256:${"0".repeat(52)}`;
      assert.equal(await codeOf({ ca: other }), "unsigned");
      assert.equal(await codeOf({ ca: `text:${narHash}` }), "unsigned");
      assert.equal(await codeOf({ references: [toyPath("lib")] }), "unsigned");
      const [signature = ""] = narInfoOf("tree", stranger).signatures;
      assert.equal(await codeOf({ ca: other, signatures: [signature] }), "untrusted");
      const { narHash: none } = narInfoOf("lib");
      assert.equal(await codeOf({ narHash: none }), "damaged");
    });
  });

  it("takes any signature where nobody says which keys readers have", async () => {
    const change = ({ storePath }: NarInfo): NarInfo => narInfoOf(nameOf(storePath), stranger);
    const { source } = sourceOf("https://cache", { names: ["lib"], change });
    const keyless = { ...source, keys: undefined };
    assert.equal((await walk([toyPath("lib")], [keyless], { signal })).served.size, 1);
  });

  it("goes on without a server that gives no answer, and says so", async () => {
    const failure = new HandpickError("NETWORK", "Cannot ask upstream");
    const cache = sourceOf("https://cache", { names: ["lib"] });
    const silent = sourceOf("https://up", { names: [], failure });
    const paths = ["lib", "app", "tool"].map(toyPath);
    const found = await walk(paths, [cache.source, silent.source], { signal });
    assert.deepEqual([...found.served.keys()].map(nameOf), ["lib"]);
    assert.deepEqual(found.silent.get("https://up"), failure);
    const codes = [...found.holes.values()].map(({ faults }) => faults.map(({ code }) => code));
    assert.deepEqual(codes, [
      ["missing", "unanswered"],
      ["missing", "unanswered"],
    ]);
  });

  it("ends where narinfos refer to themselves, each other, or new paths without end", async () => {
    const endless = (one: NarInfo): NarInfo => {
      const number = Number(nameOf(one.storePath)) + 1;
      return { ...one, references: [one.storePath, toyPath("0"), toyPath(`${number}`)] };
    };
    const { source, asked } = sourceOf("https://cache", { names: "any", change: endless });
    const keyless = { ...source, keys: undefined };
    const walking = walk([toyPath("0")], [keyless], { signal, mostPaths: 100 });
    await assert.rejects(walking, { code: "CACHE_PROTOCOL" });
    assert.equal(asked.length, 100);
  });

  it("takes nothing from a server that is no cache of this store", async () => {
    for (const [info, code] of [
      [async () => ({ storeDir: "/my/store", priority: undefined }), "STORE_UNSUPPORTED"],
      [() => Promise.reject(new FormatError("nix-cache-info", "a page")), "CACHE_PROTOCOL"],
    ] satisfies [CacheReader["info"], string][]) {
      const { source, asked } = sourceOf("https://cache", { names: ["lib"] });
      const other = { ...source, reader: { ...source.reader, info } };
      const { served, silent } = await walk([toyPath("lib")], [other], { signal });
      assert.deepEqual([served.size, asked.length], [0, 0]);
      assert.equal(silent.get("https://cache")?.code, code);
    }
  });

  it("takes nothing from a server without nix-cache-info, and says so of what is there", async () => {
    const { source } = sourceOf("https://cache", { names: ["lib"] });
    const info = async () => ({ storeDir: undefined, priority: undefined });
    const other = { ...source, reader: { ...source.reader, info } };
    const { holes } = await walk(["lib", "app"].map(toyPath), [other], { signal });
    const codeOf = (name: string): unknown => holes.get(toyPath(name))?.faults[0]?.code;
    assert.deepEqual([codeOf("lib"), codeOf("app")], ["no-cache-info", "missing"]);
  });

  it("looks at the first bytes of a NAR whose size nobody tells", async () => {
    const codeOf = async (bytes: Uint8Array, compression: NarCompression): Promise<unknown> => {
      const change = (one: NarInfo): NarInfo => ({ ...one, compression });
      const { source } = sourceOf("https://cache", { names: ["lib"], change, sizes: { lib: NaN } });
      async function* nar(): AsyncGenerator<Uint8Array> {
        for (const byte of bytes) yield Uint8Array.of(byte);
      }
      const reader = { ...source.reader, nar };
      const { holes } = await walk([toyPath("lib")], [{ ...source, reader }], { signal });
      return holes.get(toyPath("lib"))?.faults[0]?.code;
    };
    const nar = await readFile(new URL("../../test/vectors/nar/order.nar", import.meta.url));
    const page = Buffer.from("<!DOCTYPE html><html>");
    assert.equal(await codeOf(nar.subarray(0, 16), "none"), undefined);
    for (const [compression, pack] of [
      ["zstd", zstdCompressSync],
      ["gzip", gzipSync],
    ] as const) {
      assert.equal(await codeOf(pack(nar).subarray(0, 16), compression), undefined, compression);
      assert.equal(await codeOf(page, compression), "nar-damaged", compression);
    }
    assert.equal(await codeOf(page, "none"), "nar-damaged");
    assert.equal(await codeOf(Buffer.alloc(0), "xz"), "nar-damaged");
    assert.equal(await codeOf(page, "br"), undefined);
  });

  it("ends with the reason of the signal", async () => {
    const reason = new Error("stop");
    const { source } = sourceOf("https://cache", { names: ["lib"] });
    const walking = walk([toyPath("lib")], [source], { signal: AbortSignal.abort(reason) });
    await assert.rejects(walking, reason);
  });
});
