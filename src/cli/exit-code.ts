import { HandpickError } from "../error.ts";
import type { ErrorCode } from "../error.ts";

export const EXIT = {
  done: 0,
  somePathsFailed: 1,
  usage: 2,
  refused: 3,
  commandUnusable: 126,
  commandNotFound: 127,
  interrupted: 130,
} as const;

/** The exit code for a run that an error ended. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof AggregateError) return exitCodeAfter(error.errors, 0);
  return error instanceof HandpickError ? EXIT_CODES[error.code] : EXIT.somePathsFailed;
}

/** The exit code for a run that went on: of `failures` where they agree and are all that is wrong. */
export function exitCodeAfter(failures: readonly unknown[], troubledPaths: number): number {
  const codes = new Set(failures.map(exitCodeOf));
  if (troubledPaths > 0) codes.add(EXIT.somePathsFailed);
  const [first = EXIT.done] = codes;
  return codes.size > 1 ? EXIT.somePathsFailed : first;
}

const EXIT_CODES: Readonly<Record<ErrorCode, number>> = {
  USAGE: EXIT.usage,
  CONFIG_INVALID: EXIT.usage,
  CONFIG_UNREADABLE: EXIT.usage,
  CONFIG_UNTRUSTED: EXIT.usage,
  CACHE_UNKNOWN: EXIT.usage,
  CACHE_URL_UNSUPPORTED: EXIT.usage,
  KEY_INVALID: EXIT.usage,
  MANIFEST_INVALID: EXIT.usage,
  NOT_A_STORE_PATH: EXIT.usage,
  PATH_NOT_VALID: EXIT.usage,
  STORE_UNAVAILABLE: EXIT.usage,
  STORE_UNSUPPORTED: EXIT.usage,
  STORE_FAILED: EXIT.somePathsFailed,
  FILE_UNUSABLE: EXIT.usage,
  LISTEN_FAILED: EXIT.usage,
  TOKEN_MISSING: EXIT.refused,
  SIGNING_KEY_MISSING: EXIT.refused,
  CACHE_NOT_FOUND: EXIT.refused,
  CACHE_REFUSED: EXIT.refused,
  CACHE_READ_ONLY: EXIT.refused,
  KEY_MISMATCH: EXIT.refused,
  INSTALLABLE_FAILED: EXIT.somePathsFailed,
  STORE_PROTOCOL: EXIT.somePathsFailed,
  STORE_PATH_GONE: EXIT.somePathsFailed,
  STORE_PATH_CORRUPT: EXIT.somePathsFailed,
  STORE_PATH_UNREADABLE: EXIT.somePathsFailed,
  OPEN_FILES_LIMIT: EXIT.somePathsFailed,
  NETWORK: EXIT.somePathsFailed,
  CACHE_UNAVAILABLE: EXIT.somePathsFailed,
  CACHE_PROTOCOL: EXIT.somePathsFailed,
  UPLOAD_REJECTED: EXIT.somePathsFailed,
  COMPRESSOR_FAILED: EXIT.somePathsFailed,
  COMMAND_UNUSABLE: EXIT.commandUnusable,
  COMMAND_NOT_FOUND: EXIT.commandNotFound,
};
