import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { copyFile, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { zstdDecompressSync } from "node:zlib";

import { encodeBase32 } from "../../src/nix/base32.ts";
import type { TestNix } from "../nix.ts";

/** What Nix knows of a path. */
export interface NixRecord {
  readonly path: string;
  /** As narinfos have it: `sha256:` and base32. */
  readonly narHash: string;
  readonly narSize: number;
  readonly references: readonly string[];
}

/** Everything in the store, as Nix itself tells it. */
export async function nixRecords(nix: TestNix): Promise<NixRecord[]> {
  const { stdout } = await nix.run("nix-store", ["--dump-db"]);
  const lines = stdout.trimEnd().split("\n");
  const records: NixRecord[] = [];
  while (lines.length > 0) {
    const [path = "", hash = "", size, , count] = lines.splice(0, 5);
    const references = lines.splice(0, Number(count));
    const narHash = `sha256:${encodeBase32(Buffer.from(hash, "hex"))}`;
    records.push({ path, narHash, narSize: Number(size), references });
  }
  return records;
}

interface CheckedCache {
  readonly url: string;
  readonly name: string;
  readonly token: string;
}

/** What a cache has, after everything in it was checked. */
export interface Contents {
  /** What readers see. */
  readonly visible: ReadonlySet<string>;
  /** What the cache says it has, be it hidden. */
  readonly stored: ReadonlySet<string>;
}

/**
 * Reads a cache as a reader does, and fails unless all that is visible is what Nix says, byte for
 * byte, and has its whole closure visible. The cache may be at work meanwhile: it only grows.
 *
 * @param verified Paths whose bytes are not looked at again; those that were are added.
 */
export async function checkCache(
  cache: CheckedCache,
  records: readonly NixRecord[],
  verified: Set<string> = new Set(),
): Promise<Contents> {
  const visible = new Set<string>();
  // What refers to a path is read before it, so that it cannot have become visible in between.
  for (const record of referrersFirst(records)) {
    const fields = await readNarInfo(cache, record);
    if (fields === undefined) {
      const seen = records.filter(({ path, references }) => {
        return path !== record.path && visible.has(path) && references.includes(record.path);
      });
      assert.deepEqual(seen, [], `${record.path} is not visible, and what refers to it is`);
      continue;
    }
    visible.add(record.path);
    if (!verified.has(record.path)) await checkNar(cache, fields, record);
    verified.add(record.path);
  }
  const stored = await storedPaths(cache, records);
  for (const path of visible) assert.ok(stored.has(path), `${path} is visible and not stored`);
  return { visible, stored };
}

/** Puts every path before its references. */
export function referrersFirst(records: readonly NixRecord[]): NixRecord[] {
  const byPath = new Map(records.map((record) => [record.path, record]));
  const ordered = new Set<NixRecord>();
  const visit = (record: NixRecord): void => {
    if (ordered.has(record)) return;
    for (const path of record.references) {
      const reference = byPath.get(path);
      if (reference !== undefined && reference !== record) visit(reference);
    }
    ordered.add(record);
  };
  for (const record of records) visit(record);
  return [...ordered].toReversed();
}

type Fields = Readonly<Record<string, string>>;

async function readNarInfo(cache: CheckedCache, record: NixRecord): Promise<Fields | undefined> {
  const response = await fetch(`${cache.url}/${hashPart(record.path)}.narinfo`);
  const text = await response.text();
  if (response.status === 404) return undefined;
  assert.equal(response.status, 200, text);
  const lines = text.trimEnd().split("\n");
  const fields = Object.fromEntries(lines.map((line) => line.split(/: (.*)/s, 2)));
  const references = record.references.map((path) => path.slice("/nix/store/".length));
  const { StorePath, NarHash, NarSize, References = "" } = fields as Record<string, string>;
  assert.deepEqual(
    [StorePath, NarHash, NarSize, References.split(" ").filter(Boolean).toSorted()],
    [record.path, record.narHash, `${record.narSize}`, references.toSorted()],
  );
  return fields as Fields;
}

async function checkNar(cache: CheckedCache, fields: Fields, record: NixRecord): Promise<void> {
  const { URL: file, FileHash, FileSize, Compression } = fields as Record<string, string>;
  const response = await fetch(`${cache.url}/${file}`);
  assert.equal(response.status, 200, `${file} is not there`);
  const bytes = Buffer.from(await response.arrayBuffer());
  const fileHash = `sha256:${sha256(bytes).toString("hex")}`;
  assert.deepEqual([`${bytes.length}`, fileHash, Compression], [FileSize, FileHash, "zstd"]);
  const nar = unpack(bytes, record.narSize);
  const narHash = `sha256:${encodeBase32(sha256(nar))}`;
  assert.deepEqual([nar.length, narHash], [record.narSize, record.narHash]);
}

/** Unpacks zstd frames that follow each other: `zstdDecompressSync` ends after the first. */
export function unpack(bytes: Buffer, narSize: number): Buffer {
  const frames: Buffer[] = [];
  for (let offset = 0; offset < bytes.length;) {
    const options = { maxOutputLength: narSize + 1, info: true };
    // The types do not know of `info`.
    const frame = zstdDecompressSync(bytes.subarray(offset), options) as unknown as {
      readonly buffer: Buffer;
      readonly engine: { readonly bytesWritten: number };
    };
    frames.push(frame.buffer);
    offset += frame.engine.bytesWritten;
  }
  return Buffer.concat(frames);
}

async function storedPaths(
  { url, name, token }: CheckedCache,
  records: readonly NixRecord[],
): Promise<Set<string>> {
  const response = await fetch(`${url}/api/v1/cache/${name}/narinfo`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify(records.map(({ path }) => hashPart(path))),
  });
  const missing = new Set((await response.json()) as string[]);
  return new Set(records.map(({ path }) => path).filter((path) => !missing.has(hashPart(path))));
}

/** Fails unless the folder of a cache holds the files that its database names, and no others. */
export async function checkFolder(dir: string): Promise<void> {
  const copy = await mkdtemp(join(tmpdir(), "hp-check-"));
  try {
    // A copy, because to open the database is to repair it.
    const names = (await readdir(dir)).filter((name) => name.startsWith("cache.sqlite"));
    for (const name of names) await copyFile(join(dir, name), join(copy, name));
    using db = new DatabaseSync(join(copy, "cache.sqlite"));
    const nars = db.prepare("SELECT DISTINCT file FROM narinfos").all();
    const parts = db.prepare("SELECT nar_id, number, md5 FROM parts").all();
    assert.deepEqual(await readdir(join(dir, "tmp")), []);
    assert.deepEqual(
      (await readdir(join(dir, "nar"))).toSorted(),
      nars.map((row) => String(row["file"])).toSorted(),
    );
    assert.deepEqual(
      (await readdir(join(dir, "parts"))).toSorted(),
      parts.map((row) => Object.values(row).join(".")).toSorted(),
    );
  } finally {
    await rm(copy, { recursive: true, force: true });
  }
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash("sha256").update(bytes).digest();
}

function hashPart(path: string): string {
  return path.slice("/nix/store/".length, "/nix/store/".length + 32);
}
