import { HandpickError } from "../error.ts";
import { openFile, UnfitFileError } from "../files/open-file.ts";
import { readBounded, readFailure } from "../files/read-bounded.ts";
import { faultOf, FormatError } from "../nix/format-error.ts";
import { type Manifest, NewerManifestError, parseManifest } from "../nix/manifest.ts";

const MAX_BYTES = 16 * 1024 * 1024;
const HEAD_BYTES = 512;

/** How a file is told from a manifest, and how paths in one are read. */
export interface ManifestFileOptions {
  readonly storeDir: string;
  /**
   * True if the file may stand for itself. If so, only a JSON object with `version` and `picks` is
   * meant as a manifest; else everything is that begins as an object does.
   */
  readonly isStorePath: boolean;
}

/**
 * Reads the manifest in a regular file; undefined if the file is not meant as one.
 *
 * @throws {HandpickError} `MANIFEST_INVALID` if it is meant as a manifest and is none,
 *   `FILE_UNUSABLE` if it cannot be read and is no store path, which fails when it is packed.
 */
export async function readManifestFile(
  file: string,
  { storeDir, isStorePath }: ManifestFileOptions,
): Promise<Manifest | undefined> {
  const text = await readObjectText(file).catch((error: unknown) => {
    if (isStorePath) return undefined;
    throw error instanceof HandpickError ? error : unreadable(file, error);
  });
  if (text === undefined || (isStorePath && !hasManifestKeys(text))) return undefined;
  return parse(text, file, storeDir);
}

/** How long a manifest may take to come through a pipe: it may have to be evaluated. */
const PIPE_PATIENCE_MS = 10 * 60_000;

/**
 * Reads the manifest that comes through a pipe, such as `<(nix eval …)` of a shell. Undefined if the
 * pipe brings something else.
 *
 * @throws {HandpickError} `MANIFEST_INVALID` if it is meant as a manifest and is none,
 *   `FILE_UNUSABLE` if nothing comes.
 */
export async function readPipedManifest(
  file: string,
  { storeDir, signal }: { readonly storeDir: string; readonly signal: AbortSignal },
): Promise<Manifest | undefined> {
  const limits = { patienceMs: PIPE_PATIENCE_MS, signal };
  const text = await readBounded(file, MAX_BYTES, limits).catch((error: unknown) => {
    signal.throwIfAborted();
    throw unreadable(file, error);
  });
  return text.trimStart().startsWith("{") ? parse(text, file, storeDir) : undefined;
}

function parse(text: string, file: string, storeDir: string): Manifest {
  try {
    return parseManifest(text, { storeDir });
  } catch (cause) {
    if (!(cause instanceof FormatError)) throw cause;
    throw invalid(file, faultOf(cause), cause);
  }
}

function invalid(file: string, fault: string, cause?: FormatError): HandpickError {
  return new HandpickError("MANIFEST_INVALID", `Cannot use manifest ${file}: ${fault}`, {
    cause,
    hint:
      cause instanceof NewerManifestError
        ? "It needs a newer handpick: upgrade, or make the manifest with this version."
        : file.endsWith(".nix")
          ? "A file of Nix code is built first: handpick push $(nix-build FILE)."
          : "Correct the file or build it again; a newer handpick may know keys that this one does not.",
  });
}

/** The text of a small file that begins with a brace. */
async function readObjectText(file: string): Promise<string | undefined> {
  // A store path may be a link that leads anywhere; it is what was meant, and is not followed.
  await using opened = await openFile(file, { noFollow: true, regularOnly: true });
  const { handle, status } = opened;
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0);
  const head = buffer.toString("latin1", 0, bytesRead);
  if (!head.trimStart().startsWith("{")) return undefined;
  if (status.size > MAX_BYTES) throw invalid(file, "it is larger than 16 MiB");
  return handle.readFile("utf8");
}

function unreadable(file: string, cause: unknown): HandpickError {
  return new HandpickError("FILE_UNUSABLE", `Cannot read ${file}: ${readFailure(cause)}`, {
    cause,
    hint:
      cause instanceof UnfitFileError
        ? "Write the manifest to a file, and name that."
        : "Check the permissions of the file.",
  });
}

function hasManifestKeys(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && "version" in value && "picks" in value;
  } catch {
    return false;
  }
}
