import { parse } from "smol-toml";

/** How much may be parsed in all: the time it takes grows with the square of the lines to try. */
const MOST_CHARACTERS = 4 << 20;

/**
 * The line on which the value at `path` begins in a valid TOML text, from 1; undefined if it
 * cannot be told. The parser keeps no positions, so this asks it how much of the text is needed.
 */
export function findTomlLine(text: string, path: readonly string[]): number | undefined {
  const lines = text.split("\n");
  const key = path.at(-1) ?? "";
  let found: number | undefined;
  let characters = 0;
  for (const [index, line] of lines.entries()) {
    if (!line.includes(key)) continue;
    const before = lines.slice(0, index).join("\n");
    characters += before.length;
    if (characters > MOST_CHARACTERS) return undefined;
    if (lacks(before, path)) found = index + 1;
  }
  return found;
}

/** A word before what follows keys: a dot, a bracket, an equals sign. */
const KEY = /(?:"([^"]*)"|'([^']*)'|(?<![\w-])([\w-]+))(?=\s*[=.\]])/g;

/** The column, from 1, at which `key` stands in that line; 1 if it is spelled with escapes. */
export function findTomlColumn(text: string, line: number, key: string): number {
  const content = text.split("\n")[line - 1] ?? "";
  const found = content.matchAll(KEY).find((match) => match.slice(1).includes(key));
  return (found?.index ?? 0) + 1;
}

/** Returns true if `text` is TOML (not cut in the middle of a value) and has nothing at `path`. */
function lacks(text: string, path: readonly string[]): boolean {
  try {
    let value: unknown = parse(text);
    for (const key of path) {
      if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return true;
      value = (value as Readonly<Record<string, unknown>>)[key];
    }
    return false;
  } catch {
    return false;
  }
}
