import { execFileSync } from "node:child_process";
import { dirname, join, resolve } from "node:path";
import { homeDirectory } from "../home-directory.ts";

export interface FileNameOptions {
  /** The file that the name stands in; relative names start from its folder. */
  readonly file: string;
  readonly env: NodeJS.ProcessEnv;
}

/** Variables that hold folders. Any other might hold a secret, which then stood in every message. */
const FOLDER = /\$\{(HOME|XDG_[A-Z]+_(?:DIR|HOME))\}/g;
/** How agenix names the folder for a user's secrets on macOS. */
const DARWIN_TEMPORARY = "$(getconf DARWIN_USER_TEMP_DIR)";

/**
 * The absolute name of a file that a configuration names. `~/` stands for the home folder; variables
 * with folders, such as `${XDG_RUNTIME_DIR}`, and the one command that agenix uses, are filled in as
 * a shell would. What cannot be stays as it is.
 */
export function resolveFileName(name: string, { file, env }: FileNameOptions): string {
  const filled = name
    .replace(FOLDER, (text, variable: string) =>
      variable === "HOME" ? homeDirectory(env) : env[variable] || text,
    )
    .replace(DARWIN_TEMPORARY, darwinTemporary);
  if (filled.startsWith("~/")) return join(homeDirectory(env), filled.slice(2));
  return resolve(dirname(file), filled);
}

function darwinTemporary(text: string): string {
  try {
    const told = execFileSync("/usr/bin/getconf", ["DARWIN_USER_TEMP_DIR"], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
      timeout: 5000,
    });
    return told.trim() || text;
  } catch {
    return text;
  }
}
