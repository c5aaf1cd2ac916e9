import { FormatError } from "../../nix/format-error.ts";
import { Secret } from "../../secret.ts";
import type { Login } from "../kind.ts";

type Field = "login" | "password" | "account";

/** Characters behind a backslash in a quoted word that do not stand for themselves. */
const ESCAPES: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t" };
const FIELDS: ReadonlySet<string> = new Set<Field>(["login", "password", "account"]);
// oxlint-disable-next-line no-control-regex -- finding them is the purpose
const CONTROL = /[\u0000-\u001f\u007f]/;

interface Entry {
  /** Undefined for that of all hosts. */
  readonly host: string | undefined;
  readonly fields: Map<Field, string>;
}

/**
 * Finds user and password for a host in the text of a `netrc`, as curl reads it for Nix: the first entry that
 * names the host, or is for all, counts. Cachix writes entries without a user.
 *
 * @returns Undefined if there is no entry for the host, or it has neither user nor password.
 * @throws {FormatError} If a quote has no end, or no server would understand what the entry has. It repeats
 *   nothing of the file but the number of the line.
 */
export function findLogin(text: string, host: string): Login | undefined {
  const wanted = host.replace(/^\[(.*)\]$/, "$1").toLowerCase();
  const entry = readEntries(text).find(({ host }) => (host ?? wanted).toLowerCase() === wanted);
  if (entry === undefined || (!entry.fields.has("login") && !entry.fields.has("password"))) {
    return undefined;
  }
  const [user, password] = [entry.fields.get("login") ?? "", entry.fields.get("password") ?? ""];
  if (user.includes(":")) throw broken("the user of this host must have no colon");
  if (CONTROL.test(user + password)) throw broken("this host must have no control characters");
  return { user, password: new Secret(password) };
}

/** Spells a user or password for a `netrc`. Only curl of 2022 and later knows quotes, so a plain word has none. */
export function netrcWord(text: string): string {
  return /^[^\s"#]\S*$/.test(text) ? text : `"${text.replace(/["\\]/g, "\\$&")}"`;
}

function readEntries(text: string): Entry[] {
  const entries: Entry[] = [];
  let before: string | undefined;
  let isMacro = false;
  for (const [index, line] of text.split("\n").entries()) {
    // A macro ends with an empty line.
    isMacro &&= line.trim() !== "";
    if (isMacro || /^\s*#/.test(line)) continue;
    for (const word of wordsIn(line, index + 1)) {
      isMacro = before === undefined && word === "macdef";
      if (isMacro) break;
      if (before === "machine") entries.push({ host: word, fields: new Map() });
      else if (before !== undefined) entries.at(-1)?.fields.set(before as Field, word);
      else if (word === "default") entries.push({ host: undefined, fields: new Map() });
      const isKeyword = before === undefined && (word === "machine" || FIELDS.has(word));
      before = isKeyword ? word : undefined;
    }
  }
  return entries;
}

function* wordsIn(line: string, number: number): Iterable<string> {
  for (const [word] of line.matchAll(/"(?:[^"\\]|\\.)*(?:"|$)|\S+/g)) {
    if (!word.startsWith('"')) yield word;
    else if (!/[^\\](?:\\\\)*"$/.test(word)) throw broken(`line ${number} has a quote without end`);
    else
      yield word.slice(1, -1).replace(/\\(.)/g, (_, letter: string) => ESCAPES[letter] ?? letter);
  }
}

function broken(rule: string): FormatError {
  return new FormatError("netrc", `Cannot read netrc: ${rule}`);
}
