import { chooseCache } from "../config/choose-cache.ts";
import type { Config } from "../config/config.ts";
import { loadConfig } from "../config/find-config.ts";
import { HandpickError } from "../error.ts";
import { quote } from "../nix/format-error.ts";
import { isGlob } from "../nix/glob.ts";
import type { StateFolder } from "../state/state-folder.ts";
import { readWanted } from "../state/wanted.ts";
import type { CommonOptions } from "./command.ts";
import type { Io } from "./io.ts";
import { quietly } from "./prepare-run.ts";

/** Options of the commands that push what comes to be. */
export interface LiveOptions extends CommonOptions {
  readonly include?: readonly string[];
  readonly manifests?: boolean;
  readonly substituted?: boolean;
  readonly store?: string;
}

export const INCLUDE_OPTION: readonly [string, string] = [
  "-i, --include <glob...>",
  "Names to push, besides those of [builds]; words up to the next option or -- (default: none)",
];

/** The purpose for which `exec` and `watch` read their configuration. */
export interface LiveUse {
  /** The caches of the command line. */
  readonly to?: readonly string[];
  /** True if a file that was found serves the globs and caches of the command line. */
  readonly isOnce: boolean;
}

/** The configuration with what the command line adds to `[builds]`. */
export async function liveConfig(
  options: LiveOptions,
  io: Io,
  { isOnce, to = [] }: LiveUse,
): Promise<Config> {
  const { config: file, include = [], manifests = false } = options;
  const { env, cwd, uid } = io;
  const wrong = include.find((glob) => !isGlob(glob));
  if (wrong !== undefined) {
    const message = `Cannot use ${quote(wrong)} for --include: expected a glob on names, such as my-*`;
    throw new HandpickError("USAGE", message, {
      hint: "A * stands for any characters, ? for one, [a-z] for one of these; see handpick exec --help.",
    });
  }
  const serves = isOnce && include.length + to.length > 0 ? "arguments" : "wanted";
  const note = quietly(options, io);
  const config = await loadConfig({ file, env, cwd, uid, serves, to, note });
  const { builds } = config;
  return {
    ...config,
    builds: {
      ...builds,
      include: [...builds.include, ...include],
      manifests: builds.manifests || manifests,
    },
  };
}

export interface LiveScope {
  readonly config: Config;
  readonly folder: StateFolder;
  /** The caches that all goes to. @default {what manifests and the configuration say} */
  readonly to?: readonly string[];
}

/**
 * Refuses a command that could never push anything, since it would look like one that works.
 *
 * @param action As in "Cannot …".
 * @throws {HandpickError} `USAGE` if no rule accepts anything, `CACHE_UNKNOWN` if there is no cache for
 *   what they accept.
 */
export async function assertAccepts(
  action: string,
  { config, folder, to = [] }: LiveScope,
): Promise<void> {
  const { include, manifests } = config.builds;
  const hasRules = include.length > 0 || manifests;
  // Selections do not go by a configuration that was found.
  const isIdle = !hasRules && (config.isFound || (await readWanted(folder)).length === 0);
  if (isIdle) {
    const message = `Cannot ${action}: no rule accepts anything of it`;
    throw new HandpickError("USAGE", message, {
      hint: "Set include in [builds], or give --include; for what cachixPackages names, set manifests = true there.",
    });
  }
  for (const name of to) chooseCache(config, name);
  if (to.length === 0 && hasRules) chooseCache(config);
}
