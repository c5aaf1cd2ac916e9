import { delimiter } from "node:path";

import { run } from "./process.ts";
import type { BenchStore } from "./store.ts";

/** A version of Nix to compare with. */
export interface Nix {
  /** Such as `2.34`. */
  readonly version: string;
  /** All of it, such as `2.34.8`. */
  readonly fullVersion: string;
  readonly env: Readonly<Record<string, string>>;
}

/** The Nix in the folder, or that of the machine. */
export async function nixIn(
  folder: string | undefined,
  store: BenchStore,
  signal: AbortSignal,
): Promise<Nix> {
  const path = store.env["PATH"] ?? "";
  const env = folder === undefined ? store.env : { ...store.env, PATH: folder + delimiter + path };
  const { stdout } = await run("nix-store", ["--version"], { env, cwd: store.dir, signal });
  const fullVersion = /\d+\.\d+\S*/.exec(stdout)?.[0] ?? "unknown";
  return { version: /^\d+\.\d+/.exec(fullVersion)?.[0] ?? fullVersion, fullVersion, env };
}
