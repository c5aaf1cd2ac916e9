import { FormatError, quote } from "./format-error.ts";

const QUOTE = '"';
const BACKSLASH = "\\";
/** Longer strings are flattened, or one of escapes only would take 30 times its size in memory. */
const LONGEST_ROPE = 1 << 16;
const CONTROL_ESCAPES: ReadonlyMap<string, string> = new Map([
  ["n", "\n"],
  ["r", "\r"],
  ["t", "\t"],
]);

/** Walks through the text of a derivation once, from left to right. */
export class AtermReader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  /** Returns true if `literal` comes next; consumes nothing. */
  startsWith(literal: string): boolean {
    return this.#text.startsWith(literal, this.#at);
  }

  /** @throws {FormatError} If `literal` does not come next. */
  expect(literal: string): void {
    if (!this.startsWith(literal)) throw this.#expected(quote(literal));
    this.#at += literal.length;
  }

  /** @throws {FormatError} If anything is left. */
  end(): void {
    if (this.#at < this.#text.length) throw this.#expected("the end");
  }

  /** `[item,item,…]`, each read by `item`. */
  list<T>(item: () => T): readonly T[] {
    const items: T[] = [];
    this.expect("[");
    while (!this.startsWith("]")) {
      if (items.length > 0) this.expect(",");
      items.push(item());
    }
    this.expect("]");
    return items;
  }

  /** `("…","…")` with so many strings. */
  strings(count: number): readonly string[] {
    const strings: string[] = [];
    for (let index = 0; index < count; index++) {
      this.expect(index === 0 ? "(" : ",");
      strings.push(this.string());
    }
    this.expect(")");
    return strings;
  }

  /** `"…"`; a backslash takes the next character as it is, but for `\n`, `\r` and `\t`. */
  string(): string {
    this.expect(QUOTE);
    const parts: string[] = [];
    let part = "";
    let start = this.#at;
    for (let at = start; at < this.#text.length; at++) {
      const character = this.#text.charAt(at);
      if (character !== QUOTE && character !== BACKSLASH) continue;
      part += this.#text.slice(start, at);
      if (character === QUOTE) {
        this.#at = at + 1;
        return parts.join("") + part;
      }
      at++;
      const escaped = this.#text.charAt(at);
      part += CONTROL_ESCAPES.get(escaped) ?? escaped;
      start = at + 1;
      if (part.length < LONGEST_ROPE) continue;
      parts.push(Buffer.from(part, "utf16le").toString("utf16le"));
      part = "";
    }
    throw this.#expected("a string with an end");
  }

  #expected(what: string): FormatError {
    const found = quote(this.#text.slice(this.#at, this.#at + 20));
    return new FormatError(
      "derivation",
      `Expected ${what} at character ${this.#at}, found ${found}`,
    );
  }
}
