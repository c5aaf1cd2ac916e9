import { systemCode } from "./files/system-code.ts";

/**
 * Every way in which handpick fails for a reason outside its own code. Stable: scripts match on
 * them, and `docs/errors.md` explains them one by one.
 */
export type ErrorCode =
  // usage, configuration and this machine
  | "USAGE"
  | "CONFIG_INVALID"
  | "CONFIG_UNREADABLE"
  | "CONFIG_UNTRUSTED"
  | "CACHE_UNKNOWN"
  | "CACHE_URL_UNSUPPORTED"
  | "KEY_INVALID"
  | "MANIFEST_INVALID"
  | "NOT_A_STORE_PATH"
  | "PATH_NOT_VALID"
  | "STORE_UNAVAILABLE"
  | "STORE_UNSUPPORTED"
  | "FILE_UNUSABLE"
  | "LISTEN_FAILED"
  // the cache refused us, or would
  | "TOKEN_MISSING"
  | "SIGNING_KEY_MISSING"
  | "CACHE_NOT_FOUND"
  | "CACHE_REFUSED"
  | "CACHE_READ_ONLY"
  | "KEY_MISMATCH"
  // what makes single paths, builds or requests fail
  | "INSTALLABLE_FAILED"
  | "STORE_PROTOCOL"
  | "STORE_FAILED"
  | "STORE_PATH_GONE"
  | "STORE_PATH_CORRUPT"
  | "STORE_PATH_UNREADABLE"
  | "OPEN_FILES_LIMIT"
  | "NETWORK"
  | "CACHE_UNAVAILABLE"
  | "CACHE_PROTOCOL"
  | "UPLOAD_REJECTED"
  | "UPLOAD_INTERRUPTED"
  | "COMPRESSOR_FAILED"
  // the command of exec does not start
  | "COMMAND_UNUSABLE"
  | "COMMAND_NOT_FOUND";

/** Exit codes of the program. */
export const EXIT = {
  done: 0,
  somePathsFailed: 1,
  usage: 2,
  refused: 3,
  commandUnusable: 126,
  commandNotFound: 127,
  interrupted: 130,
} as const;

interface CodeTraits {
  /** Exit code of a run that an error with this code ends. */
  readonly exit: number;
  /** True if another try changes nothing until somebody acts. */
  readonly isLasting?: true;
  /** True if the cache cannot be reached, whichever path is tried. */
  readonly isOutage?: true;
}

const USAGE: CodeTraits = { exit: EXIT.usage };
const SETTING: CodeTraits = { exit: EXIT.usage, isLasting: true };
const REFUSAL: CodeTraits = { exit: EXIT.refused, isLasting: true };
const PASSING: CodeTraits = { exit: EXIT.somePathsFailed };
const LASTING: CodeTraits = { exit: EXIT.somePathsFailed, isLasting: true };
const OUTAGE: CodeTraits = { exit: EXIT.somePathsFailed, isOutage: true };

/** Says what each code means. */
const ERROR_CODES: Readonly<Record<ErrorCode, CodeTraits>> = {
  // usage, configuration and this machine
  USAGE,
  CONFIG_INVALID: SETTING,
  CONFIG_UNREADABLE: SETTING,
  CONFIG_UNTRUSTED: SETTING,
  CACHE_UNKNOWN: SETTING,
  CACHE_URL_UNSUPPORTED: SETTING,
  KEY_INVALID: SETTING,
  MANIFEST_INVALID: USAGE,
  NOT_A_STORE_PATH: USAGE,
  PATH_NOT_VALID: USAGE,
  STORE_UNAVAILABLE: USAGE,
  STORE_UNSUPPORTED: SETTING,
  FILE_UNUSABLE: USAGE,
  LISTEN_FAILED: USAGE,
  // the cache refused us, or would
  TOKEN_MISSING: REFUSAL,
  SIGNING_KEY_MISSING: REFUSAL,
  CACHE_NOT_FOUND: REFUSAL,
  CACHE_REFUSED: REFUSAL,
  CACHE_READ_ONLY: REFUSAL,
  KEY_MISMATCH: REFUSAL,
  // what makes single paths, builds or requests fail
  INSTALLABLE_FAILED: PASSING,
  STORE_PROTOCOL: PASSING,
  STORE_FAILED: PASSING,
  STORE_PATH_GONE: PASSING,
  STORE_PATH_CORRUPT: LASTING,
  STORE_PATH_UNREADABLE: LASTING,
  OPEN_FILES_LIMIT: PASSING,
  NETWORK: OUTAGE,
  CACHE_UNAVAILABLE: OUTAGE,
  CACHE_PROTOCOL: PASSING,
  UPLOAD_REJECTED: LASTING,
  UPLOAD_INTERRUPTED: PASSING,
  COMPRESSOR_FAILED: LASTING,
  // the command of exec does not start, as shells say it
  COMMAND_UNUSABLE: { exit: EXIT.commandUnusable },
  COMMAND_NOT_FOUND: { exit: EXIT.commandNotFound },
};

/** Returns the exit code of a run that an error with this code ends. */
export function exitOf(code: ErrorCode): number {
  return ERROR_CODES[code].exit;
}

/** Returns true if a code, such as one that the ledger kept, stays true however often it is tried. */
export function isLasting(code: string): boolean {
  return traitsOf(code)?.isLasting === true;
}

/** Returns true if a code means that the cache does not want us at all. */
export function isRefusal(code: string): boolean {
  return traitsOf(code)?.exit === EXIT.refused;
}

/** Returns true if a code means that the cache cannot be reached, whichever path is tried. */
export function isOutage(code: string): boolean {
  return traitsOf(code)?.isOutage === true;
}

function traitsOf(code: string): CodeTraits | undefined {
  return Object.hasOwn(ERROR_CODES, code) ? ERROR_CODES[code as ErrorCode] : undefined;
}

export interface HandpickErrorOptions extends ErrorOptions {
  /** The next step for the user, one sentence. */
  readonly hint?: string | undefined;
}

/**
 * The one error class of handpick's edges. The message says what was attempted on which object,
 * which rule was broken and what was found; no secret ever stands in it.
 */
export class HandpickError extends Error {
  override readonly name = "HandpickError";
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, options?: HandpickErrorOptions) {
    super(message, options);
    this.code = code;
    this.hint = options?.hint;
  }
}

/** Why something failed or is not as wanted, without secrets: to print, to serialise and to keep. */
export interface Failure {
  /** An {@link ErrorCode}, a reason of the plan, `UNEXPECTED` or `INTERRUPTED`; the ledger may have older ones. */
  readonly code: string;
  readonly message: string;
  /** The next step for the user. */
  readonly hint?: string;
}

/** Returns the failure that an error stands for. */
export function toFailure(error: unknown): Failure {
  if (error instanceof HandpickError) {
    const { code, message, hint } = error;
    return { code, message, ...(hint === undefined ? {} : { hint }) };
  }
  const message = error instanceof Error ? error.message : String(error);
  const isInterrupted = error instanceof Error && error.name === "AbortError";
  return { code: isInterrupted ? "INTERRUPTED" : "UNEXPECTED", message };
}

const FILE_FAILURES: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EPERM: "permission denied",
  EROFS: "the disk is read-only",
  ENOSPC: "the disk is full",
  ENOTDIR: "a file is in its way",
  ENOENT: "nothing can be made there",
};

/** Says in a few words why something could not be written. */
export function writeFailure(error: unknown): string {
  const code = systemCode(error) ?? "";
  return FILE_FAILURES[code] ?? (error instanceof Error ? error.message : String(error));
}
