import { homedir } from "node:os";
import { isAbsolute, join, resolve } from "node:path";
import { HandpickError } from "../error.ts";
import { parseConfig, type Config } from "./config.ts";
import { assertProjectHosts } from "./project-hosts.ts";
import { isAbsent, readBounded, readFailure } from "../files/read-bounded.ts";

const MAX_CONFIG_BYTES = 256 * 1024;

export interface FindConfigOptions {
  /** What `--config` says. */
  readonly file?: string | undefined;
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  /** Numeric user; undefined where the platform has none. */
  readonly uid: number | undefined;
}

/** A file that may hold the configuration; one the user named has to exist. */
export interface Candidate {
  readonly path: string;
  readonly named: boolean;
}

/**
 * Reads the first configuration file there is; without any, the configuration is empty.
 *
 * @throws {HandpickError} `CONFIG_UNREADABLE` if a file was named and is missing, or if one is
 *   there and cannot be read; `CONFIG_INVALID` if its text is wrong, or if it was found in the
 *   working directory and names a host elsewhere.
 */
export async function loadConfig(options: FindConfigOptions): Promise<Config> {
  for (const { path, named } of configCandidates(options)) {
    const text = await readBounded(path, MAX_CONFIG_BYTES, { regularOnly: !named }).catch(
      (error: unknown) => {
        if (!named && isAbsent(error)) return undefined;
        const message = `Cannot read configuration ${path}: ${readFailure(error)}`;
        throw new HandpickError("CONFIG_UNREADABLE", message, {
          cause: error,
          hint: "Check the file name given with --config or HANDPICK_CONFIG, and who may read it.",
        });
      },
    );
    if (text === undefined) continue;
    const config = parseConfig(text, path, options.env);
    if (path === projectFile(options) && !named) assertProjectHosts(config);
    return config;
  }
  return {
    file: undefined,
    caches: [],
    rules: { exclude: [], maxNarSize: undefined, onHole: "hold" },
    builds: { include: [], caches: [], manifests: false },
  };
}

/** Where {@link loadConfig} looks, in this order. */
export function configCandidates({ file, env, cwd, uid }: FindConfigOptions): Candidate[] {
  const named = file ?? (env["HANDPICK_CONFIG"] || undefined);
  if (named !== undefined) return [{ path: resolve(cwd, named), named: true }];
  const paths = [projectFile({ cwd }), join(userConfigDir(env), "handpick", "config.toml")];
  if (uid === 0) paths.push("/etc/handpick/config.toml");
  return paths.map((path) => ({ path, named: false }));
}

function projectFile({ cwd }: Pick<FindConfigOptions, "cwd">): string {
  return join(cwd, "handpick.toml");
}

/** `$XDG_CONFIG_HOME`, which counts only if absolute, else `~/.config`. */
export function userConfigDir(env: NodeJS.ProcessEnv): string {
  const dir = env["XDG_CONFIG_HOME"] ?? "";
  return isAbsolute(dir) ? dir : join(env["HOME"] || homedir(), ".config");
}
