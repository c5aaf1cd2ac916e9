import { execFile } from "node:child_process";
import { promisify } from "node:util";

const TIMEOUT_MS = 10_000;

/** Nix 2.20 gave the command another name. */
const SPELLINGS = [["config", "show"], ["show-config"]] as const;

/**
 * The `post-build-hook` that Nix goes by in this environment; undefined if there is none, or no `nix`
 * to ask.
 */
export async function configuredHook(env: NodeJS.ProcessEnv): Promise<string | undefined> {
  for (const words of SPELLINGS) {
    const args = ["--extra-experimental-features", "nix-command", ...words];
    const options = { env, timeout: TIMEOUT_MS, maxBuffer: 1 << 20 };
    // A Nix that knows this spelling of the command not, or none at all: the next is tried.
    const answer = await promisify(execFile)("nix", args, options).catch(() => undefined);
    if (answer === undefined) continue;
    const hook = /^post-build-hook = (.*)$/m.exec(answer.stdout)?.[1]?.trim() ?? "";
    return hook === "" ? undefined : hook;
  }
  return undefined;
}

/** Adds a setting to the text of `NIX_CONFIG`, where the last one counts. */
export function withSetting(text: string | undefined, name: string, value: string): string {
  return `${text === undefined ? "" : `${text}\n`}${name} = ${value}\n`;
}
