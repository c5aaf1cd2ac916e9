import { sha256ToHex } from "../nix/hash.ts";
import { printNarInfo } from "../nix/narinfo.ts";
import { fingerprint } from "../nix/signature.ts";
import type { FileCompression } from "./check-nar.ts";
import type { CompleteRequest } from "./complete-request.ts";
import type { KeyRing } from "./key-ring.ts";
import { refusal } from "./refusal.ts";

/** Readers refuse longer ones. */
const LONGEST_NARINFO = 2 ** 20;

/**
 * The signed narinfo for a path, and the base name of the file it points to, which is named after
 * its own hash.
 *
 * @throws {HTTPException} 400 if the client's signature is wrong or the narinfo gets too long.
 */
export function narInfoOf(
  request: CompleteRequest,
  compression: FileCompression,
  keys: KeyRing,
): { readonly file: string; readonly text: string } {
  const file = `${sha256ToHex(request.fileHash)}.nar.${compression}`;
  const text = printNarInfo(
    {
      ...request,
      url: `nar/${file}`,
      compression: compression === "zst" ? "zstd" : "xz",
      system: undefined,
      signatures: keys.sign(fingerprint(request), request.signature),
      ca: undefined,
    },
    { fileHashSpelling: "base16" },
  );
  if (text.length > LONGEST_NARINFO) throw refusal(400, "The path has too many references");
  return { file, text };
}
