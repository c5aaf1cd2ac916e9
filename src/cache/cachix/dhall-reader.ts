import { quote } from "../../nix/format-error.ts";
import { indentedText, plainText } from "./dhall-text.ts";
import { DhallCursor } from "./dhall-cursor.ts";

/** Text, a list or a record: all that the subset of Dhall in `cachix.dhall` files evaluates to. */
export type DhallValue = string | readonly DhallValue[] | DhallRecord;
export type DhallRecord = ReadonlyMap<string, DhallValue>;

const MAX_DEPTH = 32;
const TAKES_NO_VARIABLES = "a configuration that was found and not named takes no variables";
const LABEL = /[A-Za-z_][A-Za-z0-9_/-]*|`[ -_a-~]+`/y;
const ENV_IMPORT = /env:([A-Za-z_][A-Za-z0-9_]*)\s+as\s+Text(?![A-Za-z0-9_])/y;
const IMPORT = /env:|https?:|missing\b|\.{0,2}\/|~\//y;
const FUNCTION = /\\|λ|forall\b|∀/y;
const KEYWORD = /(?:let|if|merge|toMap|assert|Some|None|showConstructor)\b/y;

/**
 * Evaluates a Dhall expression of records, lists, text, `++`, `//`, parentheses and
 * `env:NAME as Text`; undefined if there is nothing but comments. Messages name line and column
 * and quote nothing of the text, which is full of secrets.
 *
 * @param options.env Undefined if no variables are taken.
 * @throws {HandpickError} `CONFIG_INVALID` for anything else, `CONFIG_UNTRUSTED` for a variable that is not
 *   taken.
 */
export function readDhall(
  text: string,
  options: { readonly file: string; readonly env: NodeJS.ProcessEnv | undefined },
): DhallValue | undefined {
  const cursor = new DhallCursor(text, options.file);
  cursor.skipSpace();
  if (cursor.atEnd()) return undefined;
  const value = new DhallReader(cursor, options.env).expression(0);
  if (!cursor.atEnd()) cursor.fail("expected the end of the file");
  return value;
}

class DhallReader {
  readonly #cursor: DhallCursor;
  readonly #env: NodeJS.ProcessEnv | undefined;

  constructor(cursor: DhallCursor, env: NodeJS.ProcessEnv | undefined) {
    this.#cursor = cursor;
    this.#env = env;
  }

  /** `a ++ b : Type`, of which `//` binds tighter than `++`. */
  expression(depth: number): DhallValue {
    if (depth > MAX_DEPTH) this.#cursor.fail("nested too deeply");
    let value = this.#merged(depth);
    while (this.#cursor.take(/\+\+/y) !== undefined) {
      const right = this.#merged(depth);
      if (typeof value !== "string" || typeof right !== "string") {
        this.#cursor.fail("expected text on both sides of ++");
      }
      value += right;
    }
    if (this.#cursor.take(/:/y) !== undefined) this.#type(depth);
    return value;
  }

  #merged(depth: number): DhallValue {
    const value = this.#primary(depth);
    while (this.#cursor.take(/\/\/|⫽/y) !== undefined) {
      const right = this.#primary(depth);
      if (!(value instanceof Map && right instanceof Map)) {
        this.#cursor.fail("expected records on both sides of //");
      }
      // Nobody else has the left record, as there are no variables; a copy each time adds up.
      for (const [key, field] of right) value.set(key, field);
    }
    return value;
  }

  #primary(depth: number): DhallValue {
    const cursor = this.#cursor;
    if (cursor.takeRaw(/"/y) !== undefined) return plainText(cursor);
    if (cursor.takeRaw(/''/y) !== undefined) return indentedText(cursor);
    if (cursor.take(/\{/y) !== undefined) return this.#record(depth);
    if (cursor.take(/\[/y) !== undefined) return this.#list(depth);
    if (cursor.take(/\(/y) !== undefined) {
      const value = this.expression(depth + 1);
      return cursor.take(/\)/y) === undefined ? cursor.fail("expected )") : value;
    }
    const variable = cursor.take(ENV_IMPORT)?.[1];
    return variable === undefined ? this.#refuse() : this.#variable(variable);
  }

  #variable(name: string): string {
    if (this.#env === undefined) {
      this.#cursor.fail(TAKES_NO_VARIABLES, "CONFIG_UNTRUSTED");
    }
    return (
      this.#env[name] ?? this.#cursor.fail(`variable ${quote(name)} is not in the environment`)
    );
  }

  #refuse(): never {
    const cursor = this.#cursor;
    if (cursor.sees(IMPORT)) cursor.fail("imports are not supported, except env:NAME as Text");
    if (cursor.sees(FUNCTION)) cursor.fail("functions are not supported");
    const keyword = cursor.take(KEYWORD)?.[0];
    if (keyword !== undefined) cursor.fail(`${quote(keyword)} is not supported`);
    return cursor.fail("expected a record, a list or text");
  }

  #record(depth: number): DhallRecord {
    const cursor = this.#cursor;
    const record = new Map<string, DhallValue>();
    if (cursor.take(/=/y) === undefined) cursor.take(/,/y);
    while (cursor.take(/\}/y) === undefined) {
      const [label] = cursor.take(LABEL) ?? cursor.fail("expected a key or }");
      const key = label.replaceAll("`", "");
      if (record.has(key)) cursor.fail("expected each key once");
      if (cursor.take(/=/y) === undefined) cursor.fail("expected = after a key");
      record.set(key, this.expression(depth + 1));
      if (cursor.take(/,/y) === undefined && !cursor.sees(/\}/y)) cursor.fail("expected , or }");
    }
    return record;
  }

  #list(depth: number): readonly DhallValue[] {
    const cursor = this.#cursor;
    const list: DhallValue[] = [];
    cursor.take(/,/y);
    while (cursor.take(/\]/y) === undefined) {
      list.push(this.expression(depth + 1));
      if (cursor.take(/,/y) === undefined && !cursor.sees(/\]/y)) cursor.fail("expected , or ]");
    }
    return list;
  }

  /** Types are read over: what a value must be is decided by its use. */
  #type(depth: number): void {
    const cursor = this.#cursor;
    if (depth > MAX_DEPTH) cursor.fail("nested too deeply");
    if (cursor.take(/List(?![A-Za-z0-9_])/y) !== undefined) return this.#type(depth + 1);
    if (cursor.take(/Text(?![A-Za-z0-9_])/y) !== undefined) return undefined;
    if (cursor.take(/\(/y) !== undefined) {
      this.#type(depth + 1);
      return void (cursor.take(/\)/y) ?? cursor.fail("expected )"));
    }
    if (cursor.take(/\{/y) === undefined) cursor.fail("expected a type");
    cursor.take(/,/y);
    while (cursor.take(/\}/y) === undefined) {
      if (cursor.take(LABEL) === undefined) cursor.fail("expected a key or }");
      if (cursor.take(/:/y) === undefined) cursor.fail("expected : after a key of a type");
      this.#type(depth + 1);
      if (cursor.take(/,/y) === undefined && !cursor.sees(/\}/y)) cursor.fail("expected , or }");
    }
    return undefined;
  }
}
