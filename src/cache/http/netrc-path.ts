import { isAbsolute, join } from "node:path";

import { readBounded } from "../../files/read-bounded.ts";
import { userConfigDir } from "../../home-directory.ts";

const LONGEST_CONF = 1 << 20;
const SETTING = /^[ \t]*netrc-file[ \t]*=[ \t]*([^#\n]*)/gm;

/**
 * Returns the `netrc` that Nix reads: what `netrc-file` says in `NIX_CONFIG`, in `nix.conf` of the user or of the
 * machine, else the one beside the latter. Files that these include are not followed.
 */
export async function netrcPath(env: NodeJS.ProcessEnv): Promise<string> {
  const confDir = absolute(env["NIX_CONF_DIR"]) ?? "/etc/nix";
  const texts = [env["NIX_CONFIG"] ?? ""];
  for (const file of [...userConfs(env), join(confDir, "nix.conf")]) texts.push(await textOf(file));
  for (const text of texts) {
    const [, value] = [...text.matchAll(SETTING)].at(-1) ?? [];
    const path = absolute(value?.trim());
    if (path !== undefined) return path;
  }
  return join(confDir, "netrc");
}

/** The first goes before the others. */
function userConfs(env: NodeJS.ProcessEnv): string[] {
  const named = env["NIX_USER_CONF_FILES"];
  if (named !== undefined) return named.split(":").filter((file) => isAbsolute(file));
  return [join(userConfigDir(env), "nix/nix.conf")];
}

/** Empty for one that is not there, or that Nix could not read either. */
async function textOf(file: string): Promise<string> {
  return await readBounded(file, LONGEST_CONF, { regularOnly: true }).catch(() => "");
}

function absolute(path: string | undefined): string | undefined {
  return path !== undefined && isAbsolute(path) ? path : undefined;
}
