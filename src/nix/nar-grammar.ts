/**
 * The token that comes next:
 *
 *     magic -> open -> type -> kind -+-> file -> [flag -> file-key ->] contents -> close
 *               ^                    +-> target-key -> target -> close
 *               |                    '-> directory -> entry-open -> name-key -> name -> node-key
 *               '-----------------------------------------------------------------------'
 *     ")" in close or directory -> done (root) or entry-close -> directory
 */
export type State =
  | "magic"
  | "open"
  | "type"
  | "kind"
  | "file"
  | "flag"
  | "file-key"
  | "target-key"
  | "directory"
  | "entry-open"
  | "name-key"
  | "node-key"
  | "close"
  | "entry-close"
  | "contents"
  | "target"
  | "name"
  | "done";

/** A word that a state takes, with what follows; `up` leaves the current node. */
export interface Step {
  readonly word: Uint8Array;
  readonly next: State | "up";
}

/** The words that each state takes; none where a string of any content comes. */
export const STEPS: Readonly<Record<State, readonly Step[]>> = {
  magic: steps({ "nix-archive-1": "open" }),
  open: steps({ "(": "type" }),
  type: steps({ type: "kind" }),
  kind: steps({ regular: "file", symlink: "target-key", directory: "directory" }),
  file: steps({ contents: "contents", executable: "flag" }),
  flag: steps({ "": "file-key" }),
  "file-key": steps({ contents: "contents" }),
  "target-key": steps({ target: "target" }),
  directory: steps({ entry: "entry-open", ")": "up" }),
  "entry-open": steps({ "(": "name-key" }),
  "name-key": steps({ name: "name" }),
  "node-key": steps({ node: "open" }),
  close: steps({ ")": "up" }),
  "entry-close": steps({ ")": "directory" }),
  contents: [],
  target: [],
  name: [],
  done: [],
};

/** Bytes of the longest word. */
export const LONGEST_KEYWORD: number = 13;
export const LONGEST_TARGET: number = 4095;
/** Bytes that a string of any content may have. */
export const LONGEST: Readonly<Partial<Record<State, number>>> = {
  contents: Number.MAX_SAFE_INTEGER,
  name: 255,
  target: LONGEST_TARGET,
};

function steps(words: Readonly<Record<string, State | "up">>): readonly Step[] {
  return Object.entries(words).map(([word, next]) => ({ word: Buffer.from(word), next }));
}
