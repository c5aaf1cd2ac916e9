import { open } from "node:fs/promises";
import { HandpickError } from "../error.ts";
import { FormatError } from "../nix/format-error.ts";
import { type Manifest, parseManifest } from "../nix/manifest.ts";

const MAX_BYTES = 16 * 1024 * 1024;
const BRACE = 0x7b;

/**
 * Reads the manifest in a regular file; undefined if the file holds anything else. A JSON object
 * with `version` and `picks` is meant as a manifest.
 *
 * @throws {HandpickError} `MANIFEST_INVALID` if it is meant as a manifest and is none.
 */
export async function readManifestFile(
  file: string,
  storeDir: string,
): Promise<Manifest | undefined> {
  const text = await readObjectText(file);
  if (text === undefined || !isMeantAsManifest(text)) return undefined;
  try {
    return parseManifest(text, { storeDir });
  } catch (cause) {
    if (!(cause instanceof FormatError)) throw cause;
    throw new HandpickError("MANIFEST_INVALID", `Cannot use manifest ${file}: ${cause.message}`, {
      cause,
      hint: "Build the selection again; docs/configuration.md describes the format.",
    });
  }
}

/** The text of a small file that begins with a brace. */
async function readObjectText(file: string): Promise<string | undefined> {
  await using handle = await open(file, "r");
  const { size } = await handle.stat();
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(1), 0, 1, 0);
  if (size > MAX_BYTES || bytesRead === 0 || buffer[0] !== BRACE) return undefined;
  return handle.readFile("utf8");
}

function isMeantAsManifest(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && "version" in value && "picks" in value;
  } catch {
    return false;
  }
}
