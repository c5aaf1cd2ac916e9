import { spawn } from "node:child_process";
import { chmod, mkdir, mkdtemp, open, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { HandpickError } from "../error.ts";
import { openUnnamed } from "../files/unnamed-file.ts";
import type { StorePath } from "../nix/store-path.ts";

/** How much of what Nix says is kept, in characters: its end says why it failed. */
const MOST_WORDS = 4000;
const MOST_LINES = 4;
const NETRC_FD = 3;

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
    await using netrc = await netrcIn(dir, options.netrc);
    await writeFile(join(dir, "etc/nix.conf"), configuration(netrc.path, options));
    return await run(["--realise", ...paths], { ...options, dir, netrc });
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

interface NetrcFile extends AsyncDisposable {
  /** Where Nix finds it. */
  readonly path: string;
  /** Open for reading; Nix inherits it. */
  readonly fd: number;
}

/** Writes the secret where no crash leaves it behind, as far as the system has files that Nix opens without a name. */
async function netrcIn(dir: string, text = ""): Promise<NetrcFile> {
  const isNameless = process.platform === "linux";
  const path = join(dir, "netrc");
  const file = isNameless ? await openUnnamed(dir) : await open(path, "wx+", 0o600);
  await file.write(text);
  return {
    path: isNameless ? `/proc/self/fd/${NETRC_FD}` : path,
    fd: file.fd,
    async [Symbol.asyncDispose]() {
      await file.close();
      await rm(path, { force: true });
    },
  };
}

function configuration(
  netrcFile: string,
  { substituters, publicKeys }: Pick<RealiseOptions, "substituters" | "publicKeys">,
): string {
  return [
    `substituters = ${substituters.join(" ")}`,
    `trusted-public-keys = ${publicKeys.join(" ")}`,
    `netrc-file = ${netrcFile}`,
    "require-sigs = true",
    "max-jobs = 0",
    "builders =",
    "build-users-group =",
    "narinfo-cache-positive-ttl = 0",
    "narinfo-cache-negative-ttl = 0",
    "",
  ].join("\n");
}

interface RunOptions extends Pick<RealiseOptions, "env" | "signal"> {
  readonly dir: string;
  readonly netrc: NetrcFile;
}

async function run(
  args: readonly string[],
  { dir, netrc, env, signal }: RunOptions,
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
    // The last is NETRC_FD.
    stdio: ["ignore", "ignore", "pipe", netrc.fd],
  });
  let failure: Error | undefined;
  child.on("error", (error) => (failure = error));
  const closed = new Promise<number | null>((resolve) => child.on("close", resolve));
  let words = "";
  for await (const chunk of child.stderr?.setEncoding("utf8") ?? []) {
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
