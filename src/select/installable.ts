import { spawn } from "node:child_process";
import { HandpickError } from "../error.ts";
import { FormatError, quoteUrl } from "../nix/format-error.ts";
import { parseStorePath, type StorePath } from "../nix/store-path.ts";

// Of the ways to print what was built, 2.8 knows only JSON.
const NIX_BUILD = [
  "build",
  "--no-link",
  "--json",
  "--extra-experimental-features",
  "nix-command flakes",
  "--",
];
const MAX_OUTPUT = 1024 * 1024;

export interface BuildOptions {
  readonly storeDir: string;
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
}

/** Whether `input` looks like a flake reference: `.#tool`, `nixpkgs#hello`, `github:owner/repo`. */
export function looksInstallable(input: string): boolean {
  return input.includes("#") || /^[a-z][a-z0-9+.-]*:/i.test(input);
}

/**
 * Builds an installable with `nix build`, whose messages go to our stderr, and returns its outputs.
 *
 * @throws {HandpickError} `INSTALLABLE_FAILED` if Nix is missing or fails, or prints no paths.
 * @throws The reason of `signal`, once Nix has ended, if it is aborted.
 */
export async function buildInstallable(
  installable: string,
  { storeDir, cwd, env, signal }: BuildOptions,
): Promise<StorePath[]> {
  const child = spawn("nix", [...NIX_BUILD, installable], {
    cwd,
    env,
    signal,
    stdio: ["ignore", "pipe", "inherit"],
  });
  let failure: Error | undefined;
  child.on("error", (error) => (failure = error));
  const closed = new Promise<string>((resolve) => {
    child.on("close", (status, killer) => resolve(String(killer ?? status)));
  });
  let output = "";
  for await (const chunk of child.stdout.setEncoding("utf8")) {
    output += String(chunk);
    if (output.length <= MAX_OUTPUT) continue;
    child.kill();
    break;
  }
  const status = await closed;
  signal.throwIfAborted();
  if (failure !== undefined) {
    throw failed(installable, `nix does not start: ${failure.message}`, failure);
  }
  if (status !== "0") throw failed(installable, `nix build ended with ${status}`);
  return parseOutput(installable, output, storeDir);
}

function parseOutput(installable: string, output: string, storeDir: string): StorePath[] {
  try {
    const results: unknown = JSON.parse(output);
    const paths = Array.isArray(results) ? results.flatMap(resultPaths) : [];
    if (paths.length === 0) throw new FormatError("store-path", "no path is printed");
    return paths.map((path) => parseStorePath(typeof path === "string" ? path : "", storeDir));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw failed(installable, "nix build printed another thing than its results", error);
  }
}

/** A result has outputs if something was built; a store path stands for itself, since 2.26 bare. */
function resultPaths(result: unknown): unknown[] {
  if (typeof result !== "object" || result === null) return [result];
  const { outputs, path } = result as { readonly outputs?: unknown; readonly path?: unknown };
  return typeof outputs === "object" && outputs !== null ? Object.values(outputs) : [path];
}

function failed(installable: string, reason: string, cause?: unknown): HandpickError {
  const message = `Cannot build ${quoteUrl(installable)}: ${reason}`;
  return new HandpickError("INSTALLABLE_FAILED", message, {
    cause,
    hint: "See the messages of nix above; nix build has to succeed with the same argument.",
  });
}
