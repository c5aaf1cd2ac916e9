import { FormatError, quote } from "./format-error.ts";

/** The `nix-cache-info` of a binary cache. */
export interface NixCacheInfo {
  /** The folder of the store whose paths it holds; undefined where it does not say. */
  readonly storeDir: string | undefined;
  /** Undefined where it does not say. */
  readonly priority: number | undefined;
}

const LONGEST_TEXT = 64 * 1024;
const STORE_DIR = /^\/[^\p{Cc}]{0,4095}$/u;

/**
 * Reads `nix-cache-info` as Nix does: lines `Key: value`, of which others than `StoreDir` are hints
 * for clients; of a priority that is none, nothing is told.
 *
 * @throws {FormatError} If it is longer than 64 KiB, has other lines, or its store folder is none.
 */
export function parseNixCacheInfo(text: string): NixCacheInfo {
  if (text.length > LONGEST_TEXT) throw broken(`expected at most ${LONGEST_TEXT} characters`);
  let storeDir: string | undefined;
  let priority: number | undefined;
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const [, key, value = ""] = /^([^:]+):\s*(.*)$/.exec(line) ?? [];
    if (key === undefined) throw broken(`expected lines "Key: value", found ${quote(line)}`);
    if (key === "Priority" && /^\d{1,9}$/.test(value)) priority = Number(value);
    if (key !== "StoreDir") continue;
    if (!STORE_DIR.test(value))
      throw broken(`expected a folder in StoreDir, found ${quote(value)}`);
    storeDir = value.replace(/(?<=.)\/+$/, "");
  }
  return { storeDir, priority };
}

/** Writes a `nix-cache-info` as Nix makes it for a new cache. */
export function printNixCacheInfo({ storeDir }: { readonly storeDir: string }): string {
  return `StoreDir: ${storeDir}\n`;
}

function broken(rule: string): FormatError {
  return new FormatError("nix-cache-info", `Cannot read nix-cache-info: ${rule}`);
}
