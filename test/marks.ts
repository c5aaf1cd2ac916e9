import { lstat, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

/** A secret that a test planted, to be looked for where it must not be. */
export interface Mark {
  readonly name: string;
  readonly text: string;
}

/** A text or some bytes, and where they were found. */
export interface Place {
  readonly where: string;
  readonly content: string | Uint8Array;
}

/** The marks that stand in a place, in plain or spelled in hex, base64, JSON or a URL. */
export function findMarks(marks: readonly Mark[], places: readonly Place[]): string[] {
  return places.flatMap(({ where, content }) => {
    const bytes = Buffer.from(content);
    const lower = bytes.toString("latin1").toLowerCase();
    const isIn = (spelling: string): boolean =>
      bytes.includes(spelling) || lower.includes(spelling.toLowerCase());
    return marks
      .filter(({ text }) => spellings(text).some(isIn))
      .map(({ name }) => `${name} in ${where}`);
  });
}

/** The files and links below a folder, each with its path, its mode and what is in it. */
export async function filesBelow(dir: string): Promise<(Place & { readonly mode: number })[]> {
  const names = await readdir(dir, { recursive: true });
  const found = names.map(async (name) => {
    const where = join(dir, name);
    const status = await lstat(where);
    const content = status.isFile() ? await readFile(where) : "";
    return { where, content, mode: status.mode & 0o777 };
  });
  return Promise.all(found);
}

function spellings(text: string): string[] {
  const bytes = Buffer.from(text);
  return [
    text,
    JSON.stringify(text).slice(1, -1),
    encodeURIComponent(text),
    bytes.toString("hex"),
    // The same in the middle of something longer, which may begin at any of three places.
    ...[0, 1, 2].map((skipped) => bytes.subarray(skipped).toString("base64").slice(0, -4)),
    ...[0, 1, 2].map((skipped) => bytes.subarray(skipped).toString("base64url").slice(0, -4)),
  ];
}
