import { createHash } from "node:crypto";
import { zstdDecompressSync } from "node:zlib";

import { encodeBase32 } from "../../../src/nix/base32.ts";
import { parseNixCacheInfo } from "../../../src/nix/cache-info.ts";
import { publicKeyOf } from "../../../src/nix/key.ts";
import { type NarInfo, parseNarInfo } from "../../../src/nix/narinfo.ts";
import { fingerprint, verifyFingerprint } from "../../../src/nix/signature.ts";
import { baseNameOf, hashPartOf } from "../../../src/nix/store-path.ts";
import type { Contents, PublishedPath } from "../evidence.ts";
import type { CacheOptions, SigningKey } from "./kind.ts";

const NARINFO = /^[0-9a-df-np-sv-z]{32}\.narinfo$/;
/** In base32 or, of `handpick serve`, in hexadecimal; buckets have names that go on. */
const NAR = /^nar\/(?:[0-9a-df-np-sv-z]{52}[\w-]*|[0-9a-f]{64})\.nar\.zst$/;

/** The keys of its table by which such a cache is signed for. */
export function keySettings({ key }: CacheOptions): Readonly<Record<string, string>> {
  return key === undefined ? {} : { "signing-key-file": key.file };
}

/** What a cache in the layout of Nix holds, and what is wrong with it. */
export type LayoutContents = Pick<Contents, "published" | "isVisible" | "flaws"> & {
  /** The names of NARs that no narinfo tells of. */
  readonly untold: readonly string[];
};

/**
 * Reads a cache as Nix does.
 *
 * @param files By their names below the root.
 * @param key The key that signs; undefined if nobody does.
 */
export function readLayout(
  files: ReadonlyMap<string, Buffer>,
  key: SigningKey | undefined,
): LayoutContents {
  const published = new Map<string, PublishedPath>();
  const flaws: string[] = [];
  const told = new Set<string>();
  for (const [name, bytes] of files) {
    if (!NARINFO.test(name)) {
      if (name !== "nix-cache-info" && !NAR.test(name)) flaws.push(`${name} is no file of a cache`);
      continue;
    }
    const narInfo = attempt(() => parseNarInfo(bytes.toString()));
    if (narInfo === undefined) {
      flaws.push(`${name} is no narinfo`);
      continue;
    }
    told.add(narInfo.url);
    flaws.push(...faultsOf(narInfo, { name, files, key }).map((fault) => `${name}: ${fault}`));
    published.set(name.slice(0, 32), publishedOf(narInfo, files));
  }
  if (!isOfStore(files.get("nix-cache-info")) && published.size > 0) {
    flaws.push("nix-cache-info does not say of which store the cache is");
  }
  return {
    published,
    isVisible: (hashPart) => published.has(hashPart),
    flaws,
    untold: [...files.keys()].filter((name) => NAR.test(name) && !told.has(name)),
  };
}

interface Place {
  readonly name: string;
  readonly files: ReadonlyMap<string, Buffer>;
  readonly key: SigningKey | undefined;
}

function faultsOf(narInfo: NarInfo, { name, files, key }: Place): string[] {
  const file = files.get(narInfo.url);
  const { fileHash, fileSize, signatures } = narInfo;
  const hash = file && `sha256:${encodeBase32(createHash("sha256").update(file).digest())}`;
  const line = fingerprint(narInfo);
  const publicKeys = key === undefined ? [] : [publicKeyOf(key.secret)];
  const isRight = {
    "it is of another path": hashPartOf(narInfo.storePath) === name.slice(0, 32),
    [`${narInfo.url} is not there`]: file !== undefined,
    [`${narInfo.url} has another size`]: file === undefined || file.length === fileSize,
    [`${narInfo.url} has another hash`]: file === undefined || hash === fileHash,
    "it is not signed":
      key === undefined || signatures.some((one) => verifyFingerprint(line, one, publicKeys)),
  };
  return Object.entries(isRight).flatMap(([fault, is]) => (is ? [] : [fault]));
}

function publishedOf(
  { narHash, narSize, references, url }: NarInfo,
  files: ReadonlyMap<string, Buffer>,
): PublishedPath {
  const file = files.get(url);
  return {
    narHash,
    narSize,
    references: references.map(baseNameOf),
    nar: () => file && attempt(() => zstdDecompressSync(file)),
  };
}

function isOfStore(info: Buffer | undefined): boolean {
  const parsed = info && attempt(() => parseNixCacheInfo(info.toString()));
  return parsed?.storeDir === "/nix/store";
}

function attempt<T>(task: () => T): T | undefined {
  try {
    return task();
  } catch {
    return undefined; // the caller says what is wrong
  }
}
