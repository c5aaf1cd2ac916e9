import { FormatError } from "../nix/format-error.ts";
import { isDerivation, parseStorePath, type StorePath } from "../nix/store-path.ts";
import type { OutputChoice } from "./output-choice.ts";
import { buildFailed, runNix } from "./run-nix.ts";

const EXPERIMENTAL = ["--extra-experimental-features", "nix-command flakes"];
// Of the ways to print what was built, 2.8 knows only JSON.
const BUILD = ["nix", "build", "--no-link", "--json", ...EXPERIMENTAL, "--"];
// Before 2.9 an installable could not name outputs, so Nix is asked for the derivation behind it.
const FIND_DERIVATION = ["nix", "path-info", "--derivation", ...EXPERIMENTAL, "--"];
const REALISE = ["nix-store", "--realise"];
// Of a package with several outputs, those that profiles get.
const OUTPUT_PATHS =
  'd: map (output: d.${output}.outPath) (d.meta.outputsToInstall or [ (d.outputName or "out") ])';
const EVALUATE = ["nix", "eval", "--json", ...EXPERIMENTAL, "--apply", OUTPUT_PATHS, "--"];

export interface BuildOptions {
  readonly storeDir: string;
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
}

/** Returns true if `input` looks like a flake reference: `.#tool`, `nixpkgs#hello`, `github:owner/repo`. */
export function looksInstallable(input: string): boolean {
  return input.includes("#") || /^[a-z][a-z0-9+.-]*:/i.test(input);
}

/**
 * Builds an installable as `nix build` does, whose messages go to our stderr, and returns the outputs
 * that this stands for.
 *
 * @throws {HandpickError} `INSTALLABLE_FAILED` if Nix is missing or fails, or prints no paths.
 * @throws The reason of `signal`, once Nix has ended, if it is aborted.
 */
export async function buildInstallable(
  installable: string,
  { storeDir, ...options }: BuildOptions,
): Promise<StorePath[]> {
  const output = await runNix([...BUILD, installable], { installable, ...options });
  return parsePaths(installable, storeDir, () => {
    const results: unknown = JSON.parse(output);
    return Array.isArray(results) ? results.flatMap(resultPaths) : [];
  });
}

/**
 * Evaluates an installable, whose messages go to our stderr, and returns the outputs that a profile would get of it.
 * Nothing is built, and none of them has to be here.
 *
 * @throws As {@link buildInstallable}.
 */
export async function evaluateInstallable(
  installable: string,
  { storeDir, ...options }: BuildOptions,
): Promise<StorePath[]> {
  const output = await runNix([...EVALUATE, installable], { installable, ...options });
  return parsePaths(installable, storeDir, () => {
    const paths: unknown = JSON.parse(output);
    return Array.isArray(paths) ? paths : [];
  });
}

/**
 * Builds chosen outputs of an installable and returns their paths.
 *
 * @throws As {@link buildInstallable}.
 */
export async function buildOutputs(
  { base, outputs }: OutputChoice,
  { storeDir, ...options }: BuildOptions,
): Promise<StorePath[]> {
  const run = async (words: readonly string[]): Promise<StorePath[]> => {
    const output = await runNix(words, { installable: base, ...options });
    return parsePaths(base, storeDir, () => output.split("\n").filter((line) => line !== ""));
  };
  const [derivation, ...others] = await run([...FIND_DERIVATION, base]);
  if (derivation === undefined || others.length > 0 || !isDerivation(derivation)) {
    throw buildFailed(base, "it stands for no single derivation, whose outputs could be chosen");
  }
  const wanted = outputs === "all" ? derivation : `${derivation}!${outputs.join(",")}`;
  return run([...REALISE, wanted]);
}

function parsePaths(installable: string, storeDir: string, read: () => unknown[]): StorePath[] {
  try {
    const paths = read();
    if (paths.length === 0) throw new FormatError("store-path", "no path is printed");
    return paths.map((path) => parseStorePath(typeof path === "string" ? path : "", storeDir));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw buildFailed(installable, "nix printed another thing than its results", error);
  }
}

/** A result has outputs if something was built; a store path stands for itself, since 2.26 bare. */
function resultPaths(result: unknown): unknown[] {
  if (typeof result !== "object" || result === null) return [result];
  const { outputs, path } = result as { readonly outputs?: unknown; readonly path?: unknown };
  return typeof outputs === "object" && outputs !== null ? Object.values(outputs) : [path];
}
