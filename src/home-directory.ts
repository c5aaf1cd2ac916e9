import { userInfo } from "node:os";
import { isAbsolute, join } from "node:path";

/** Where nobody has files, for users who have no home. */
const NO_HOME = "/nonexistent";

/**
 * The home folder: `HOME` if it is absolute, else that of the system's list of users. A relative one, an
 * empty one too, would lead below whatever folder the program runs in, which may be a checkout of anybody's.
 */
export function homeDirectory(env: NodeJS.ProcessEnv): string {
  const home = env["HOME"] ?? "";
  return isAbsolute(home) ? home : listedHome();
}

/** `$XDG_CONFIG_HOME`, which counts only if absolute, else `~/.config`. */
export function userConfigDir(env: NodeJS.ProcessEnv): string {
  const dir = env["XDG_CONFIG_HOME"] ?? "";
  return isAbsolute(dir) ? dir : join(homeDirectory(env), ".config");
}

/** `$XDG_STATE_HOME`, which counts only if absolute, else `~/.local/state`. */
export function userStateDir(env: NodeJS.ProcessEnv): string {
  const dir = env["XDG_STATE_HOME"] ?? "";
  return isAbsolute(dir) ? dir : join(homeDirectory(env), ".local", "state");
}

function listedHome(): string {
  try {
    const { homedir } = userInfo();
    return isAbsolute(homedir) ? homedir : NO_HOME;
  } catch {
    // A container may run as a user whom no list has.
    return NO_HOME;
  }
}
