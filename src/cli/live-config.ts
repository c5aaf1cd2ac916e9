import type { Config } from "../config/config.ts";
import { loadConfig } from "../config/find-config.ts";
import { HandpickError } from "../error.ts";
import { quote } from "../nix/format-error.ts";
import { isGlob } from "../nix/glob.ts";
import type { CommonOptions } from "./command.ts";
import type { Io } from "./io.ts";

/** Options of the commands that push what comes to be. */
export interface LiveOptions extends CommonOptions {
  readonly include?: readonly string[];
  readonly substituted?: boolean;
  readonly store?: string;
}

export const INCLUDE_OPTION: readonly [string, string] = [
  "-i, --include <glob...>",
  "Names to push, besides those of [builds]; words up to the next option or -- (default: none)",
];

/** The configuration with what the command line adds to `[builds]`. */
export async function liveConfig(
  { config: file, include = [] }: LiveOptions,
  { env, cwd, uid }: Io,
): Promise<Config> {
  const wrong = include.find((glob) => !isGlob(glob));
  if (wrong !== undefined) {
    const message = `Cannot use ${quote(wrong)} for --include: expected a glob on names, such as my-*`;
    throw new HandpickError("USAGE", message, { hint: "docs/configuration.md describes globs." });
  }
  const config = await loadConfig({ file, env, cwd, uid });
  return {
    ...config,
    builds: { ...config.builds, include: [...config.builds.include, ...include] },
  };
}
