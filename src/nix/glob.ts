import { quote } from "./format-error.ts";
import { packageNameOf } from "./package-name.ts";
import { nameOf, type StorePath } from "./store-path.ts";

const MAX_LENGTH = 512;
const NAME_GLOB = /^(?:[\w+.?=*-]|\[!?[\w+.?=*-]+\])+$/;
const PATH_GLOB = /^\/(?:[^[\]{}]|\[!?[^[\]{}!]+\])+$/;
const WILDCARD = /[*?[]/;
const PIECE = /\*|\?|\[(!?)([^\]]+)\]|[^]/g;
const RANGE = /([^])-([^])|[^]/g;

/** Tells whether one character fits; `undefined` stands for `*`, any number of characters. */
type Piece = ((character: string) => boolean) | undefined;

/** Returns true if {@link compileGlob} takes the pattern. */
export function isGlob(pattern: string): boolean {
  return (
    pattern.length <= MAX_LENGTH && (pattern.startsWith("/") ? PATH_GLOB : NAME_GLOB).test(pattern)
  );
}

/**
 * Compiles a glob on the name part of store paths, or on the full path if it starts with a slash:
 * `*` is any text, `?` any character, `[a-z]` one of these and `[!a-z]` none of these. A name without
 * any of them is also that of a package, whatever its version: `zoom` fits `zoom-6.1`. Matching at most as many steps as pattern length times text length, whatever the pattern.
 *
 * @throws {RangeError} If the pattern is not such a glob, or longer than 512 characters.
 */
export function compileGlob(pattern: string): (path: StorePath) => boolean {
  if (!isGlob(pattern)) {
    throw new RangeError(`Cannot use ${quote(pattern)} as a glob on names or full store paths`);
  }
  const onPath = pattern.startsWith("/");
  const pieces = Array.from(pattern.matchAll(PIECE), ([text, not, set]) => piece(text, not, set));
  const isPlain = !onPath && !WILDCARD.test(pattern);
  return (path) => {
    const text = onPath ? path : nameOf(path);
    return matches(pieces, text) || (isPlain && packageNameOf(text) === pattern);
  };
}

function piece(text: string, not: string | undefined, set: string | undefined): Piece {
  if (text === "*") return undefined;
  if (text === "?") return () => true;
  if (set === undefined) return (character) => character === text;
  const ranges = Array.from(set.matchAll(RANGE), ([one, from = one, to = one]) => ({ from, to }));
  return (character) =>
    ranges.some(({ from, to }) => character >= from && character <= to) === (not === "");
}

/** On a mismatch only the last `*` takes one character more, as earlier ones need not change. */
function matches(pieces: readonly Piece[], text: string): boolean {
  let at = 0;
  let next = 0;
  let retry: { at: number; readonly next: number } | undefined;
  while (at < text.length) {
    const fits = pieces[next];
    if (next < pieces.length && fits === undefined) {
      retry = { at, next: ++next };
    } else if (fits?.(text.charAt(at)) === true) {
      at++;
      next++;
    } else if (retry === undefined) {
      return false;
    } else {
      at = ++retry.at;
      next = retry.next;
    }
  }
  return pieces.slice(next).every((rest) => rest === undefined);
}
