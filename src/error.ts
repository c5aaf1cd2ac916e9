/**
 * Every way in which handpick fails for a reason outside its own code. Stable: scripts match on
 * them, and `docs/errors.md` explains them one by one.
 */
export type ErrorCode =
  // usage, configuration and this machine (exit 2)
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
  // the cache refused us, or would (exit 3)
  | "TOKEN_MISSING"
  | "SIGNING_KEY_MISSING"
  | "CACHE_NOT_FOUND"
  | "CACHE_REFUSED"
  | "CACHE_READ_ONLY"
  | "KEY_MISMATCH"
  // what makes single paths, builds or requests fail (exit 1)
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
  | "COMPRESSOR_FAILED"
  // the command of exec does not start (exit 126 and 127, as in shells)
  | "COMMAND_UNUSABLE"
  | "COMMAND_NOT_FOUND";

export interface HandpickErrorOptions extends ErrorOptions {
  /** What the user can do about it, one sentence. */
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
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return FILE_FAILURES[code] ?? (error instanceof Error ? error.message : String(error));
}
