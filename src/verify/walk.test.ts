import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { type Graph, toyPath } from "../../test/toy-paths.ts";
import type { CacheReader } from "../cache/contract.ts";
import { HandpickError } from "../error.ts";
import { FormatError } from "../nix/format-error.ts";
import type { Sha256 } from "../nix/hash.ts";
import { generateSecretKey, publicKeyOf } from "../nix/key.ts";
import type { NarInfo } from "../nix/narinfo.ts";
import { fingerprint, signFingerprint } from "../nix/signature.ts";
import { nameOf } from "../nix/store-path.ts";
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
  readonly names: readonly string[];
  readonly change?: (narInfo: NarInfo) => NarInfo;
  readonly sizes?: Readonly<Record<string, number | undefined>>;
  readonly failure?: Error;
}

function sourceOf(url: string, { names, change = (one) => one, sizes = {}, failure }: Fake) {
  const asked: string[] = [];
  const reader: CacheReader = {
    url,
    info: () => assert.fail(),
    async narInfo(path) {
      asked.push(nameOf(path));
      if (failure !== undefined) throw failure;
      return names.includes(nameOf(path)) ? change(narInfoOf(nameOf(path))) : undefined;
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

  it("takes what has a content address, or a size that nobody tells", async () => {
    const change = (one: NarInfo): NarInfo => ({ ...one, signatures: [], ca: "text:sha256:0" });
    const { source } = sourceOf("https://cache", { names: ["lib"], change, sizes: { lib: NaN } });
    assert.equal((await walk([toyPath("lib")], [source], { signal })).served.size, 1);
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

  it("ends with the reason of the signal", async () => {
    const reason = new Error("stop");
    const { source } = sourceOf("https://cache", { names: ["lib"] });
    const walking = walk([toyPath("lib")], [source], { signal: AbortSignal.abort(reason) });
    await assert.rejects(walking, reason);
  });
});
