import { stripVTControlCharacters } from "node:util";

/** A stream for text, perhaps of a terminal. */
export type OutputStream = NodeJS.WritableStream & {
  readonly isTTY?: boolean;
  readonly columns?: number;
};

/** A narrower terminal than that gets words cut: they would not be wrapped well either. */
const MIN_COLUMNS = 20;
/** The indentation of a continued line, besides that of the line. */
const INDENT = 2;

/** Writes a text of one or more lines; on a terminal no word is cut at its edge. */
export function writeText(stream: OutputStream, text: string): void {
  const { isTTY, columns = 0 } = stream;
  stream.write(`${isTTY === true && columns >= MIN_COLUMNS ? wrapText(text, columns) : text}\n`);
}

/** Breaks lines between words, so that none is longer than `columns` if its words are not. */
export function wrapText(text: string, columns: number): string {
  return text
    .split("\n")
    .flatMap((line) => wrapLine(line, columns))
    .join("\n");
}

function wrapLine(line: string, columns: number): string[] {
  if (widthOf(line) <= columns) return [line];
  const indent = /^ */.exec(line)?.[0] ?? "";
  const lines: string[] = [];
  let current = indent;
  let isFresh = true;
  for (const [, space = "", word = ""] of line.slice(indent.length).matchAll(/( *)([^ ]+)/g)) {
    if (!isFresh && widthOf(current + space + word) > columns) {
      lines.push(current);
      current = indent + " ".repeat(INDENT) + word;
    } else {
      current += space + word;
    }
    isFresh = false;
  }
  return [...lines, current];
}

/** Columns that text takes; colours take none. */
function widthOf(text: string): number {
  return stripVTControlCharacters(text).length;
}
