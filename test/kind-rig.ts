import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { narInfoName } from "../src/cache/binary-cache.ts";
import { parseNarInfo } from "../src/nix/narinfo.ts";
import { baseNameOf, type HashPart, hashPartOf } from "../src/nix/store-path.ts";
import { startServer } from "../src/serve/server.ts";
import { atticd, AtticServer } from "./attic-server.ts";
import { unpack } from "./crash/cache-check.ts";
import { startFakeAttic } from "./fakes/attic.ts";
import { startFakeCachix } from "./fakes/cachix.ts";
import { IS_LONG } from "./long.ts";
import { nginxSkip, startNginx } from "./nginx.ts";
import { tempDir } from "./temp.ts";
import { S3_ENV, startVersitygw, whyNoVersitygw } from "./versitygw.ts";

/** A path as readers get it. */
export interface Found {
  readonly narHash: string;
  readonly narSize: number;
  /** Base names. */
  readonly references: readonly string[];
  /** Fetches the NAR that the record names. */
  nar(): Promise<Buffer>;
}

/** An empty cache of some kind with its server, for programs. */
export interface KindRig extends AsyncDisposable {
  /** Base URL of the server, which a proxy may stand before; undefined for a folder. */
  readonly target?: string;
  /** A second server that the first one sends clients to. */
  readonly storage?: { readonly target: string; readonly use: (url: string) => void };
  /** The lines of its table in `handpick.toml`, with the server at this address. */
  table(address: string): readonly string[];
  /** The variables that programs need for it. */
  readonly env: Readonly<Record<string, string>>;
  find(hashPart: HashPart): Promise<Found | undefined>;
  /** Where Nix reads it; undefined for a fake that it cannot read. */
  readonly readUrl?: string;
  /** Where Nix writes to it, if it can. */
  readonly nixUrl?: string;
}

/** A kind of cache with a server of it. */
export interface KindRow {
  readonly name: string;
  /** Why it cannot run here. */
  readonly skip: string | false;
  /** True if the server has everything in memory. @default {false} */
  readonly isInMemory?: true;
  /** True if tests in `test/crash/` kill pushes to it, at each step. @default {false} */
  readonly isKilledElsewhere?: true;
  start(): Promise<KindRig>;
}

const NAME = "acme";
const TOKEN = "fake-token";

const FAKED = { isInMemory: true, isKilledElsewhere: true } as const;

/** Says why a fake is left out where the real server of its kind is tried. */
const whyNotFaked = (whyNoReal: string | false): string | false =>
  whyNoReal === false && !IS_LONG && "the real server of its kind is tried: set HANDPICK_TEST_LONG";

/** Every kind of cache, with fakes and with real servers. */
export const KIND_ROWS: readonly KindRow[] = [
  { ...FAKED, name: "cachix:// and a fake", skip: whyNotFaked(false), start: startCachix },
  { name: "cachix:// and handpick serve", skip: false, isKilledElsewhere: true, start: startServe },
  { name: "file://", skip: false, start: startFolder },
  { name: "http:// and nginx", skip: nginxSkip(), start: startWeb },
  { name: "s3:// and versitygw", skip: whyNoVersitygw, start: startBucket },
  { ...FAKED, name: "attic:// and a fake", skip: whyNotFaked(whyNoAtticd()), start: startAttic },
  { name: "attic:// and atticd", skip: whyNoAtticd(), start: startAtticd },
];

type Read = (name: string) => Promise<Buffer | undefined>;

async function foundBy(read: Read, hashPart: HashPart): Promise<Found | undefined> {
  const text = (await read(narInfoName(hashPart)))?.toString();
  if (text === undefined) return undefined;
  const narInfo = parseNarInfo(text);
  assert.equal(hashPartOf(narInfo.storePath), hashPart);
  const { narHash, narSize, references, compression, fileSize, url } = narInfo;
  return {
    narHash,
    narSize,
    references: references.map((path) => baseNameOf(path)),
    nar: async () => {
      const file = await read(url);
      assert.ok(file !== undefined, `${url} is not there`);
      if (fileSize !== undefined) assert.equal(file.length, fileSize);
      assert.ok(compression === "zstd" || compression === "none", compression);
      return compression === "none" ? file : unpack(file, narSize);
    },
  };
}

function readsAt(url: string): Pick<KindRig, "find" | "readUrl"> {
  const read: Read = async (name) => {
    const response = await fetch(`${url}/${name}`);
    const bytes = Buffer.from(await response.arrayBuffer());
    assert.ok(response.ok || response.status === 404, `${name}: ${response.status}`);
    return response.ok ? bytes : undefined;
  };
  return { readUrl: url, find: (hashPart) => foundBy(read, hashPart) };
}

const cachixTable = (host: string): readonly string[] => [
  `url = "cachix://${NAME}"`,
  `host = "${host}"`,
  'token-env = "T"',
];

async function startCachix(): Promise<KindRig> {
  const fake = await startFakeCachix(NAME);
  const { service } = fake;
  return {
    target: fake.url,
    storage: {
      target: service.storageUrl,
      use: (url) => void (service.storageUrl = url),
    },
    table: cachixTable,
    env: { T: TOKEN },
    async find(hashPart) {
      const published = service.isVisible(hashPart) ? service.published.get(hashPart) : undefined;
      if (published === undefined) return undefined;
      const { cNarHash, cNarSize, cReferences } = published.narInfo;
      return {
        narHash: String(cNarHash),
        narSize: Number(cNarSize),
        references: cReferences as string[],
        nar: async () => unpack(published.file, Number(cNarSize)),
      };
    },
    async [Symbol.asyncDispose]() {
      await fake[Symbol.asyncDispose]();
      assert.deepEqual(fake.violations, []);
    },
  };
}

async function startServe(): Promise<KindRig> {
  await using stack = new AsyncDisposableStack();
  const { dir } = stack.use(await tempDir());
  const place = { dir, host: "127.0.0.1", port: 0, name: NAME, isPrivate: false };
  const { url, tokenFile } = stack.use(await startServer(place));
  const token = (await readFile(tokenFile, "utf8")).trim();
  const kept = stack.move();
  return {
    target: url,
    table: cachixTable,
    env: { T: token },
    ...readsAt(url),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

async function startFolder(): Promise<KindRig> {
  const temp = await tempDir();
  const dir = join(temp.dir, "cache");
  const url = `file://${dir}`;
  const read: Read = (name) =>
    readFile(join(dir, name)).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return undefined;
      throw error;
    });
  return {
    table: () => [`url = "${url}"`],
    env: {},
    find: (hashPart) => foundBy(read, hashPart),
    readUrl: url,
    nixUrl: `${url}?compression=zstd`,
    [Symbol.asyncDispose]: () => temp[Symbol.asyncDispose](),
  };
}

async function startWeb(): Promise<KindRig> {
  const nginx = await startNginx();
  const { origin, pathname } = new URL(nginx.url);
  return {
    target: origin,
    table: (address) => [`url = "${address}${pathname}"`],
    env: {},
    ...readsAt(nginx.url),
    nixUrl: `${nginx.url}?compression=zstd`,
    [Symbol.asyncDispose]: () => nginx[Symbol.asyncDispose](),
  };
}

async function startBucket(): Promise<KindRig> {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startVersitygw());
  // Some builds of Nix sign no requests.
  const url = await server.bucket(NAME, { everybody: "write" });
  const kept = stack.move();
  return {
    target: server.url,
    table: (address) => [`url = "s3://${NAME}?endpoint=${new URL(address).host}&scheme=http"`],
    env: S3_ENV,
    ...readsAt(`${server.url}/${NAME}`),
    nixUrl: `${url}&compression=zstd`,
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

const atticTable = (host: string): readonly string[] => [
  `url = "attic://unused.example/${NAME}"`,
  `host = "${host}"`,
  'token-env = "T"',
];

async function startAttic(): Promise<KindRig> {
  const fake = await startFakeAttic(NAME);
  return {
    target: fake.url,
    table: atticTable,
    env: { T: TOKEN },
    ...readsAt(`${fake.url}/${NAME}`),
    async [Symbol.asyncDispose]() {
      await fake[Symbol.asyncDispose]();
      assert.deepEqual(fake.service.violations, []);
    },
  };
}

function whyNoAtticd(): string | false {
  const found = atticd();
  return "skip" in found ? found.skip : false;
}

async function startAtticd(): Promise<KindRig> {
  const found = atticd();
  assert.ok("program" in found);
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await AtticServer.start(found.program));
  await server.createCache(NAME);
  const kept = stack.move();
  return {
    target: server.url,
    table: atticTable,
    env: { T: server.token({ caches: NAME, push: true }) },
    ...readsAt(`${server.url}/${NAME}`),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}
