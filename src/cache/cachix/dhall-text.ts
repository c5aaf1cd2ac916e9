import type { DhallCursor } from "./dhall-cursor.ts";

const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  "\\": "\\",
  $: "$",
  "/": "/",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
};
const PLAIN = /(?:[^"\\$\p{Cc}]|\$(?!\{))+/uy;
const ESCAPE = /\\(?:(["\\$/bfnrt])|u([0-9A-Fa-f]{4})|u\{([0-9A-Fa-f]{1,8})\})/y;
const INTERPOLATION = /\$\{/y;
const INDENTED = /'''|''\$\{|(?!''|\$\{)[^]/y;

/** Reads `"…"`; the cursor stands behind the opening quote. */
export function plainText(cursor: DhallCursor): string {
  let text = "";
  while (cursor.take(/"/y) === undefined) {
    text += cursor.takeRaw(PLAIN)?.[0] ?? escaped(cursor);
  }
  return text;
}

function escaped(cursor: DhallCursor): string {
  if (cursor.sees(INTERPOLATION)) cursor.fail("interpolation in text is not supported");
  const match = cursor.takeRaw(ESCAPE);
  if (match === undefined) cursor.fail("expected text without line breaks and its closing quote");
  const [, letter, four, braced] = match;
  if (letter !== undefined) return ESCAPES[letter] ?? letter;
  const point = Number.parseInt(four ?? braced ?? "", 16);
  const isCharacter = point <= 0x10ffff && !(point >= 0xd800 && point <= 0xdfff);
  return isCharacter ? String.fromCodePoint(point) : cursor.fail("expected a character's number");
}

/** Reads `''…''`; the cursor stands behind the opening quotes. */
export function indentedText(cursor: DhallCursor): string {
  if (cursor.takeRaw(/\r?\n/y) === undefined) cursor.fail("expected a line break after ''");
  let text = "";
  for (;;) {
    const token = cursor.takeRaw(INDENTED)?.[0];
    if (token === undefined) break;
    text += token.length > 2 ? token.replace("''", "").replace(/^'$/, "''") : token;
  }
  if (cursor.sees(INTERPOLATION)) cursor.fail("interpolation in text is not supported");
  if (cursor.take(/''/y) === undefined) cursor.fail("expected the closing '' of a text");
  return withoutIndent(text.replaceAll("\r\n", "\n").split("\n"));
}

/** Takes off the white space that all lines begin with; empty lines count only at the end. */
function withoutIndent(lines: readonly string[]): string {
  const counted = lines.filter((line, index) => line !== "" || index === lines.length - 1);
  const indents = counted.map((line) => /^[ \t]*/.exec(line)?.[0] ?? "");
  const common = indents.reduce((shared, indent) => {
    let length = 0;
    while (length < shared.length && shared[length] === indent[length]) length++;
    return shared.slice(0, length);
  });
  return lines.map((line) => line.slice(common.length)).join("\n");
}
