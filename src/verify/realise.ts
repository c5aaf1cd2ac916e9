import { spawn } from "node:child_process";
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { HandpickError } from "../error.ts";
import type { StorePath } from "../nix/store-path.ts";

/** How much of what Nix says is kept, in characters: its end says why it failed. */
const MOST_WORDS = 4000;
const MOST_LINES = 4;

export interface RealiseOptions {
  /** The caches that the machine has, in their order. */
  readonly substituters: readonly string[];
  /** `name:base64` each. */
  readonly publicKeys: readonly string[];
  /** A line of `netrc`, where the cache is private. */
  readonly netrc?: string | undefined;
  /** As of whoever pushes: proxies, certificates, and credentials of AWS. */
  readonly env: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
}

/**
 * Has the Nix of this machine fetch paths into a store of their own, which has nothing, builds nothing and is
 * removed afterwards: with the caches and keys of a reader, and without what Nix remembers of earlier answers.
 *
 * @returns Why it failed, as Nix says it; undefined if it did not.
 * @throws {HandpickError} `INSTALLABLE_FAILED` if there is no Nix.
 */
export async function realise(
  paths: Iterable<StorePath>,
  options: RealiseOptions,
): Promise<string | undefined> {
  const dir = await mkdtemp(join(tmpdir(), "handpick-verify-"));
  try {
    for (const name of ["etc", "home"]) await mkdir(join(dir, name));
    await writeFile(join(dir, "netrc"), options.netrc ?? "", { mode: 0o600 });
    await writeFile(join(dir, "etc/nix.conf"), configuration(dir, options));
    return await run(["--realise", ...paths], dir, options);
  } finally {
    await makeFoldersWritable(dir);
    await rm(dir, { recursive: true, force: true });
  }
}

/** Folders of store paths cannot be emptied as they are. */
async function makeFoldersWritable(dir: string): Promise<void> {
  await chmod(dir, 0o700);
  for (const entry of await readdir(dir, { withFileTypes: true })) {
    if (entry.isDirectory()) await makeFoldersWritable(join(dir, entry.name));
  }
}

function configuration(dir: string, { substituters, publicKeys }: RealiseOptions): string {
  return [
    `substituters = ${substituters.join(" ")}`,
    `trusted-public-keys = ${publicKeys.join(" ")}`,
    `netrc-file = ${join(dir, "netrc")}`,
    "require-sigs = true",
    "max-jobs = 0",
    "builders =",
    "build-users-group =",
    "narinfo-cache-positive-ttl = 0",
    "narinfo-cache-negative-ttl = 0",
    "",
  ].join("\n");
}

async function run(
  args: readonly string[],
  dir: string,
  { env, signal }: RealiseOptions,
): Promise<string | undefined> {
  const home = join(dir, "home");
  const child = spawn("nix-store", args, {
    cwd: dir,
    signal,
    env: {
      ...env,
      HOME: home,
      XDG_CACHE_HOME: join(home, ".cache"),
      XDG_CONFIG_HOME: join(home, ".config"),
      NIX_CONF_DIR: join(dir, "etc"),
      NIX_REMOTE: `local?root=${join(dir, "root")}`,
      NIX_CONFIG: undefined,
      NIX_USER_CONF_FILES: undefined,
      NIX_STORE_DIR: undefined,
      NIX_STATE_DIR: undefined,
    },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let failure: Error | undefined;
  child.on("error", (error) => (failure = error));
  const closed = new Promise<number | null>((resolve) => child.on("close", resolve));
  let words = "";
  for await (const chunk of child.stderr.setEncoding("utf8")) {
    words = (words + String(chunk)).slice(-MOST_WORDS);
  }
  const status = await closed;
  signal.throwIfAborted();
  if (failure !== undefined) {
    throw new HandpickError("INSTALLABLE_FAILED", "Cannot run nix-store", {
      cause: failure,
      hint: "Install Nix, or leave out --realise.",
    });
  }
  return status === 0 ? undefined : endOf(words);
}

/** The last lines of what Nix says: the reason stands in one, and that it failed in another. */
function endOf(words: string): string {
  const lines = words.split("\n").filter((line) => line.trim() !== "");
  return lines.slice(-MOST_LINES).join("\n");
}
