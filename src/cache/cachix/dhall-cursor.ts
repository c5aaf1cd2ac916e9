import { type ErrorCode, HandpickError } from "../../error.ts";

const SPACE = /[ \t\r\n]+|--[^\n]*/y;

/** A place in a Dhall text. Everything it takes is followed by skipping space and comments. */
export class DhallCursor {
  readonly #text: string;
  readonly #file: string;
  #at = 0;

  constructor(text: string, file: string) {
    this.#text = text;
    this.#file = file;
  }

  atEnd(): boolean {
    return this.#at === this.#text.length;
  }

  /** Returns true if a sticky pattern matches here. */
  sees(pattern: RegExp): boolean {
    pattern.lastIndex = this.#at;
    return pattern.test(this.#text);
  }

  /** Takes what a sticky pattern matches here, and the space behind it. */
  take(pattern: RegExp): RegExpExecArray | undefined {
    const match = this.takeRaw(pattern);
    if (match !== undefined) this.skipSpace();
    return match;
  }

  /** As {@link take}, inside text, where space counts. */
  takeRaw(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#text) ?? undefined;
    if (match !== undefined) this.#at = pattern.lastIndex;
    return match;
  }

  skipSpace(): void {
    while (this.takeRaw(SPACE) !== undefined || this.#skipBlockComment());
  }

  #skipBlockComment(): boolean {
    if (this.takeRaw(/\{-/y) === undefined) return false;
    for (let depth = 1; depth > 0;) {
      const [token] = this.takeRaw(/\{-|-\}|[^]/y) ?? this.fail("expected the end of a comment");
      if (token === "{-") depth++;
      if (token === "-}") depth--;
    }
    return true;
  }

  /** @throws {HandpickError} Always, by default `CONFIG_INVALID`. */
  fail(reason: string, code: ErrorCode = "CONFIG_INVALID"): never {
    const lines = this.#text.slice(0, this.#at).split("\n");
    const place = `${this.#file}:${lines.length}:${(lines.at(-1) ?? "").length + 1}`;
    throw new HandpickError(code, `Cannot read ${place}: ${reason}`, {
      hint: "Of Dhall only literals are read; give token-file and host of this cache in the configuration instead.",
    });
  }
}
