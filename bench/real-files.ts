import { createHash } from "node:crypto";
import { readdirSync, statSync } from "node:fs";
import { mkdir, open, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** A file of this machine. */
export interface RealFile {
  readonly path: string;
  readonly sizeBytes: number;
}

/** Larger ones would make up a whole corpus by themselves. */
const MOST_BYTES = 64 << 20;
const SMALL_BYTES = 64 << 10;
const FILES_A_FOLDER = 200;

/**
 * Regular files below the folders, in an order that mixes them and is the same each time: programs,
 * libraries, sources, documents, pictures as they come.
 *
 * @param most Stop looking after this many.
 */
export function findRealFiles(roots: readonly string[], most: number): RealFile[] {
  const found: RealFile[] = [];
  const folders = [...roots];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    for (const entry of entriesOf(folder)) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) folders.push(path);
      else if (entry.isFile()) found.push({ path, sizeBytes: sizeOf(path) });
    }
    if (found.length >= most) break;
  }
  return found
    .filter(({ sizeBytes }) => sizeBytes > 0 && sizeBytes <= MOST_BYTES)
    .map((file) => ({ file, key: createHash("sha1").update(file.path).digest("hex") }))
    .toSorted((a, b) => (a.key < b.key ? -1 : 1))
    .map(({ file }) => file);
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

function entriesOf(folder: string): ReturnType<typeof readDir> {
  try {
    return readDir(folder);
  } catch {
    return []; // not ours to read, or not there on this machine
  }
}

const readDir = (folder: string) => readdirSync(folder, { withFileTypes: true });

/** What trees are made of. */
export interface Material {
  readonly files: readonly RealFile[];
  readonly signal: AbortSignal;
}

/**
 * Writes one file of this size: real files end to end, from the n-th on, and from the first again
 * when there are no more. That is hundreds of megabytes later on any machine, far outside of what a
 * compressor looks back to.
 *
 * @returns The number of the file to go on with.
 */
export async function writeLargeFile(
  to: string,
  sizeBytes: number,
  { files, signal, from }: Material & { readonly from: number },
): Promise<number> {
  await using out = await open(to, "wx");
  let next = from;
  for (let written = 0; written < sizeBytes; next += 1) {
    signal.throwIfAborted();
    const bytes = await contentsOf(files[next % files.length]);
    written += (await out.write(bytes.subarray(0, sizeBytes - written))).bytesWritten;
  }
  return next;
}

/** Writes a tree of small files, a couple of hundred a folder. */
export async function writeSmallFiles(
  to: string,
  count: number,
  { files, signal }: Material,
): Promise<void> {
  const small = files.filter(({ sizeBytes }) => sizeBytes <= SMALL_BYTES);
  for (let n = 0; n < count; n += 1) {
    signal.throwIfAborted();
    const folder = join(to, `folder-${Math.floor(n / FILES_A_FOLDER)}`);
    if (n % FILES_A_FOLDER === 0) await mkdir(folder, { recursive: true });
    await writeFile(join(folder, `file-${n}`), await contentsOf(small[n % small.length]));
  }
}

async function contentsOf(file: RealFile | undefined): Promise<Buffer> {
  if (file === undefined)
    throw new Error("Cannot make a corpus: this machine has no files to read");
  try {
    return await readFile(file.path);
  } catch {
    return Buffer.from(file.path); // not ours to read
  }
}
