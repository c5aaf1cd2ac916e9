import { delimiter } from "node:path";

import { Unavailable } from "../scripts/debian-packages.ts";
import { nixBin, nixVersion, ownNix } from "../scripts/nix-trees.ts";
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

export interface Nixes {
  readonly found: readonly Nix[];
  readonly missing: readonly { readonly version: string; readonly reason: string }[];
}

export interface FindOptions {
  readonly store: BenchStore;
  /** Take the machine's own Nix and no other. */
  readonly isQuick: boolean;
  readonly say: (text: string) => void;
}

/** The oldest Nix that is supported and a new one, each with its programs first on PATH. */
export async function findNixes({ store, isQuick, say }: FindOptions): Promise<Nixes> {
  const found: Nix[] = [];
  const missing: { version: string; reason: string }[] = [];
  if (isQuick) {
    const own = await ownNix();
    if (own !== undefined) found.push(await nixIn(own.bin, store));
    return { found, missing };
  }
  for (const version of ["2.8", "2.34"] as const) {
    try {
      found.push(await nixIn(await nixBin(version, { onStep: say }), store));
    } catch (error) {
      if (!(error instanceof Unavailable)) throw error;
      missing.push({ version, reason: error.message });
    }
  }
  return { found, missing };
}

/** The version of the zstd program on the PATH; undefined if there is none. */
export async function zstdVersion(
  { env, dir }: BenchStore,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    const { stdout } = await run("zstd", ["--version"], { env, cwd: dir, signal });
    return /v(\d[\d.]*)/.exec(stdout)?.[1];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

async function nixIn(bin: string, { env }: BenchStore): Promise<Nix> {
  const fullVersion = await nixVersion(bin);
  return {
    version: fullVersion.split(".").slice(0, 2).join("."),
    fullVersion,
    env: { ...env, PATH: bin + delimiter + (env["PATH"] ?? "") },
  };
}
