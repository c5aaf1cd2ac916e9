import { FormatError, quote, UNPRINTABLE } from "./format-error.ts";
import { isGlob } from "./glob.ts";
import { nearest } from "./nearest.ts";
import { DEFAULT_STORE_DIR, isStorePath, type StorePath } from "./store-path.ts";

/** The dependencies that go along with a pick: those at run time, none, or those at build time too. */
export type ClosureKind = "runtime" | "self" | "build";

/** One chosen package. */
export interface Pick {
  readonly name: string;
  /** The name of its manifest; absent for a path on the command line. */
  readonly selection?: string;
  readonly paths: readonly StorePath[];
  readonly closure: ClosureKind;
  /** Names of the caches it goes to, or URLs such as `cachix://NAME`; undefined for all configured. */
  readonly caches: readonly string[] | undefined;
  /** Globs of paths to leave out. */
  readonly exclude: readonly string[];
  /** Name of the pin that keeps it in the cache. */
  readonly pin: string | undefined;
  /** A hint: caches that this machine has no token for do not matter. @default {false} */
  readonly isOptional?: boolean;
}

/** A selection: what a machine, user or project wants in its caches. */
export interface Manifest {
  readonly version: 1;
  /** Fit for a file name. */
  readonly name: string;
  readonly picks: readonly Pick[];
}

/** A value inside the document and where it stands, such as `picks[0].paths[1]`. */
interface Spot {
  readonly at: string;
  readonly value: unknown;
}

const LONGEST_TEXT = 16 * 2 ** 20;
const LONGEST_LIST = 100_000;
const LONGEST_LABEL = 255;
/** Values, and characters of keys and texts, in what a program may skip of a pick. */
const LARGEST_HINTS = 2 ** 16;
const CLOSURES: readonly ClosureKind[] = ["runtime", "self", "build"];
const FILE_NAME = /^[A-Za-z0-9_][A-Za-z0-9._+@-]{0,127}$/;
/** A name, or the URL of any kind, without credentials: the kind reads it, and one unknown here fails alone. */
const CACHE =
  /^(?:[A-Za-z0-9][A-Za-z0-9._-]{0,63}|[a-z][a-z0-9+.-]{0,15}:\/\/(?![^/?#]*@)[!-~]{1,2000})$/;
const CACHE_RULE = "the name of a cache or a URL such as cachix://NAME or file:///DIR";
const MANIFEST_KEYS = ["version", "name", "picks"];
const PICK_KEYS = ["name", "paths", "closure", "caches", "exclude", "pin", "hints"];

/** A manifest of a later version, which may restrict what this one would push. */
export class NewerManifestError extends FormatError {}

/**
 * Reads a manifest. Messages say where in the document something is wrong. The `hints` of a pick are
 * for programs that know them, and are skipped; what restricts a pick raises the version instead.
 *
 * @throws {NewerManifestError} If it is of a later version.
 * @throws {FormatError} If it is longer than 16 MiB, of another version, or anything in it is
 *   missing, unknown or out of bounds.
 */
export function parseManifest(
  text: string,
  { storeDir = DEFAULT_STORE_DIR }: { readonly storeDir?: string } = {},
): Manifest {
  const fields = object({ at: "the document", value: parseJson(text) });
  const version = fields.get("version");
  if (version !== 1) throw wrongVersion(version);
  refuseUnknown(fields, "", MANIFEST_KEYS);
  const name = { at: "name", value: fields.get("name") };
  const picks = list({ at: "picks", value: fields.get("picks") });
  return {
    version,
    name: matching(name, FILE_NAME, "a name of letters, digits and ._+@-"),
    picks: picks.map((pick) => parsePick(pick, storeDir)),
  };
}

/** Returns the picks of a manifest, which name it as their selection. */
export function picksOf({ name, picks }: Manifest): Pick[] {
  return picks.map((pick) => ({ ...pick, selection: name }));
}

/** Returns true if a pick or a pin may have this name. */
export function isLabel(text: string): boolean {
  if (text === "" || text.length > LONGEST_LABEL) return false;
  return text.isWellFormed() && text.search(UNPRINTABLE) === -1;
}

function parsePick(spot: Spot, storeDir: string): Pick {
  const fields = object(spot);
  refuseUnknown(fields, `${spot.at}.`, PICK_KEYS);
  const field = (key: string): Spot => ({ at: `${spot.at}.${key}`, value: fields.get(key) });
  const isOptional = optional(field("hints"), hints)?.get("optional") === true;
  return {
    name: label(field("name")),
    paths: list(field("paths")).map((path) => storePath(path, storeDir)),
    closure: optional(field("closure"), closure) ?? "runtime",
    caches: optional(field("caches"), caches),
    exclude: optional(field("exclude"), (globs) => list(globs).map(glob)) ?? [],
    pin: optional(field("pin"), label),
    ...(isOptional ? { isOptional } : {}),
  };
}

function glob(spot: Spot): string {
  if (typeof spot.value !== "string" || !isGlob(spot.value)) {
    throw wrong(spot, 'a glob such as "*-doc" or a full store path');
  }
  return spot.value;
}

function parseJson(text: string): unknown {
  if (text.length > LONGEST_TEXT) {
    throw new FormatError("manifest", `Cannot read manifest: it is longer than 16 MiB`);
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    const found = cause instanceof Error ? quote(cause.message) : "";
    throw new FormatError("manifest", `Cannot read manifest: not JSON: ${found}`, { cause });
  }
}

function object(spot: Spot): ReadonlyMap<string, unknown> {
  const { value } = spot;
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw wrong(spot, "an object");
  }
  return new Map(Object.entries(value));
}

function refuseUnknown(
  fields: ReadonlyMap<string, unknown>,
  prefix: string,
  known: readonly string[],
): void {
  for (const key of fields.keys()) {
    if (known.includes(key)) continue;
    const meant = nearest(key, known);
    const hint =
      meant === undefined ? `expected ${known.join(", ")}` : `nearest is ${quote(meant)}`;
    throw new FormatError(
      "manifest",
      `Cannot read manifest: unknown key ${quote(`${prefix}${key}`)}, ${hint}`,
    );
  }
}

/** Counts without recursion, since nesting may be deeper than the call stack. */
function hints(spot: Spot): ReadonlyMap<string, unknown> {
  const known = object(spot);
  let size = 0;
  const left = [spot.value];
  while (left.length > 0) {
    const value = left.pop();
    size += typeof value === "string" ? value.length : 1;
    if (typeof value === "object" && value !== null) {
      const entries: [string, unknown][] = Object.entries(value);
      for (const [key, inner] of entries) {
        size += Array.isArray(value) ? 0 : key.length;
        left.push(inner);
      }
    }
    if (size + left.length <= LARGEST_HINTS) continue;
    throw wrong(spot, `at most ${LARGEST_HINTS} values and characters`);
  }
  return known;
}

function list(spot: Spot): readonly Spot[] {
  const { at, value } = spot;
  if (!Array.isArray(value) || value.length > LONGEST_LIST) {
    throw wrong(spot, `a list of at most ${LONGEST_LIST}`);
  }
  return value.map((item: unknown, index) => ({ at: `${at}[${index}]`, value: item }));
}

/** Null counts as absent: that is how Nix writes an option that is not set. */
function optional<T>(spot: Spot, read: (spot: Spot) => T): T | undefined {
  return spot.value === undefined || spot.value === null ? undefined : read(spot);
}

function matching(spot: Spot, pattern: RegExp, rule: string): string {
  if (typeof spot.value !== "string" || !pattern.test(spot.value)) throw wrong(spot, rule);
  return spot.value;
}

function label(spot: Spot): string {
  const { value } = spot;
  if (typeof value === "string" && isLabel(value)) return value;
  throw wrong(spot, `1 to ${LONGEST_LABEL} printable characters`);
}

function storePath(spot: Spot, storeDir: string): StorePath {
  const { value } = spot;
  if (typeof value !== "string" || !isStorePath(value, storeDir)) {
    throw wrong(spot, `a store path in ${storeDir}`);
  }
  return value;
}

function closure(spot: Spot): ClosureKind {
  const kind = CLOSURES.find((known) => known === spot.value);
  if (kind === undefined) throw wrong(spot, `one of ${CLOSURES.join(", ")}`);
  return kind;
}

/** An empty list would quietly push nowhere. */
function caches(spot: Spot): readonly string[] {
  const names = list(spot).map((name) => matching(name, CACHE, CACHE_RULE));
  if (names.length === 0) throw wrong(spot, "at least one cache");
  return names;
}

function wrongVersion(version: unknown): FormatError {
  const error = wrong({ at: "version", value: version }, "1");
  if (typeof version !== "number" || version < 1) return error;
  return new NewerManifestError("manifest", error.message);
}

function wrong({ at, value }: Spot, rule: string): FormatError {
  const found = value === undefined ? "nothing" : describe(value);
  return new FormatError(
    "manifest",
    `Cannot read manifest: ${at}: expected ${rule}, found ${found}`,
  );
}

function describe(value: unknown): string {
  if (typeof value === "string") return quote(value);
  if (Array.isArray(value)) return `a list of ${value.length}`;
  return typeof value === "object" && value !== null ? "an object" : String(value);
}
