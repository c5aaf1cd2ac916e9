import { HandpickError } from "../error.ts";
import { openFile } from "../files/open-file.ts";
import { type Derivation, parseDerivation } from "../nix/derivation.ts";
import { FormatError, quote } from "../nix/format-error.ts";
import { isDerivation, type StorePath } from "../nix/store-path.ts";
import { physicalPathOf, type StoreLayout } from "./layout.ts";

const MAX_FILE_BYTES = 64 << 20;

/**
 * Output names and paths as the file of a derivation tells them; no path where only a build can
 * tell it.
 *
 * @throws {HandpickError} As {@link readDerivation} does.
 */
export async function readDerivationOutputs(
  layout: StoreLayout,
  derivation: StorePath,
): Promise<Map<string, StorePath | undefined>> {
  const { outputs } = await readDerivation(layout, derivation);
  return new Map([...outputs].map(([name, output]) => [name, output.path]));
}

/**
 * Reads the file of a derivation. Its texts have one character for each byte of the file.
 *
 * @throws {HandpickError} `STORE_PATH_GONE`, `STORE_PATH_UNREADABLE` or `STORE_PATH_CORRUPT`.
 */
export async function readDerivation(layout: StoreLayout, path: StorePath): Promise<Derivation> {
  try {
    const file = physicalPathOf(layout, path);
    // Any output may have a name like that of a derivation, and be a link to a pipe.
    await using opened = await openFile(file, { noFollow: true, regularOnly: true });
    if (opened.status.size > MAX_FILE_BYTES) {
      throw new FormatError("derivation", `it exceeds ${MAX_FILE_BYTES} bytes`);
    }
    return parseDerivation(await opened.handle.readFile("latin1"));
  } catch (error) {
    throw derivationUnusable(path, error);
  }
}

/** @throws {HandpickError} `PATH_NOT_VALID` unless the path is that of a derivation. */
export function assertDerivation(path: StorePath): void {
  if (isDerivation(path)) return;
  throw new HandpickError(
    "PATH_NOT_VALID",
    `Cannot list outputs of ${quote(path)}: expected a derivation (.drv)`,
  );
}

/** The error for a derivation that is not in the store. */
export function notValid(derivation: StorePath): HandpickError {
  return new HandpickError(
    "PATH_NOT_VALID",
    `Cannot list outputs of ${quote(derivation)}: expected a valid path, found none in the store`,
    { hint: "Evaluate the package again to put its derivation back into the store." },
  );
}

/** The error for a derivation that cannot be read, or makes no sense. */
export function derivationUnusable(derivation: StorePath, cause: unknown): HandpickError {
  const action = `Cannot list outputs of ${quote(derivation)}`;
  if (cause instanceof FormatError) {
    const message = `${action}: ${cause.message}`;
    return new HandpickError("STORE_PATH_CORRUPT", message, {
      cause,
      hint: "Repair the store with nix-store --verify --check-contents --repair.",
    });
  }
  const isGone = cause instanceof Error && "code" in cause && cause.code === "ENOENT";
  const found = isGone ? "found no file" : "found one that cannot be read";
  return new HandpickError(
    isGone ? "STORE_PATH_GONE" : "STORE_PATH_UNREADABLE",
    `${action}: expected a readable file, ${found}`,
    { cause, hint: "Instantiate it again, or check the permissions of the file." },
  );
}
