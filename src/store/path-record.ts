import { HandpickError } from "../error.ts";
import { FormatError, quote } from "../nix/format-error.ts";
import { parseSha256 } from "../nix/hash.ts";
import type { PathInfo } from "../nix/path-info.ts";
import {
  compareStorePaths,
  isStorePath,
  parseStorePath,
  type StorePath,
} from "../nix/store-path.ts";

/** A path's record as a daemon or a database tells it, with nothing checked but the types. */
export interface PathRecord {
  readonly path: string;
  /** Any spelling with its algorithm in front. */
  readonly narHash: string;
  readonly narSize: number;
  readonly references: readonly string[];
  readonly deriver: string;
  readonly registrationTime: number;
  readonly ultimate: boolean;
  readonly signatures: readonly string[];
  readonly contentAddress: string;
}

/** Checks the records of one store; empty strings stand for what is absent. */
export type PathInfoReader = (record: PathRecord) => PathInfo;

/**
 * Makes a reader of records. It keeps the paths it has seen: in a closure most are named by many
 * others, so checking each once saves a third of the time, and most of the memory.
 */
export function pathInfoReader(storeDir: string): PathInfoReader {
  const seen = new Map<string, StorePath>();
  const parse = (text: string): StorePath => {
    const known = seen.get(text);
    if (known !== undefined) return known;
    const path = parseStorePath(text, storeDir);
    seen.set(path, path);
    return path;
  };
  return (record) => toPathInfo(record, parse);
}

function toPathInfo(record: PathRecord, parse: (text: string) => StorePath): PathInfo {
  return checked(() => {
    const references = new Set(record.references.map(parse));
    return {
      path: parse(record.path),
      narHash: parseSha256(record.narHash),
      narSize: parseSize(record.narSize),
      references: [...references].toSorted(compareStorePaths),
      deriver: record.deriver === "" ? undefined : parse(record.deriver),
      registrationTime: record.registrationTime,
      ultimate: record.ultimate,
      signatures: record.signatures,
      contentAddress: record.contentAddress === "" ? undefined : record.contentAddress,
    };
  });
}

/**
 * Returns the paths that are asked about, each once.
 *
 * @throws {HandpickError} `NOT_A_STORE_PATH` if one is not in `storeDir`: a daemon would hang up.
 */
export function toQuestion(paths: Iterable<StorePath>, storeDir: string): StorePath[] {
  const unique = [...new Set(paths)];
  for (const path of unique) {
    if (isStorePath(path, storeDir)) continue;
    throw new HandpickError(
      "NOT_A_STORE_PATH",
      `Cannot query ${quote(path)}: expected a path in the store ${quote(storeDir)}`,
      { hint: "Name the store it belongs to with --store or NIX_REMOTE." },
    );
  }
  return unique;
}

/** Checks a path that a daemon or a database told. */
export function toStorePath(text: string, storeDir: string): StorePath {
  return checked(() => parseStorePath(text, storeDir));
}

/**
 * Runs a parser over what the store said.
 *
 * @throws {HandpickError} `STORE_PROTOCOL` for what the parser refuses.
 */
export function checked<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    throw notUnderstood(error.message, error);
  }
}

function parseSize(size: number): number {
  if (size >= 0) return size;
  throw notUnderstood(`expected the size of a NAR, found ${size}`);
}

function notUnderstood(problem: string, cause?: unknown): HandpickError {
  return new HandpickError("STORE_PROTOCOL", `Cannot understand the Nix store: ${problem}`, {
    cause,
    hint: "Its records are not as Nix writes them: run nix-store --verify.",
  });
}
