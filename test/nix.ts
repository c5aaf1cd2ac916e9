import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import {
  access,
  chmod,
  constants,
  mkdir,
  mkdtemp,
  open,
  readFile,
  realpath,
  rm,
  writeFile,
} from "node:fs/promises";
import { constants as osConstants } from "node:os";
import { delimiter, join } from "node:path";
import { text } from "node:stream/consumers";

import { accepting } from "./listening.ts";
import { shPackages } from "./sh-packages.ts";

/** How {@link TestNix.run} runs a command. */
export interface RunOptions {
  /** Added to, and winning over, the environment of the throw-away Nix. */
  readonly env?: Readonly<Record<string, string>>;
  readonly uid?: number;
  readonly gid?: number;
  readonly stdin?: string | Uint8Array;
  readonly cwd?: string;
  /** Resolve even if the command exits with another status than 0. @default {false} */
  readonly allowFailure?: boolean;
}

export interface RunResult {
  readonly stdout: string;
  readonly stderr: string;
  /** Exit status, 128 plus the signal's number if a signal ended it. */
  readonly status: number;
}

export interface TestDaemon {
  readonly socket: string;
  stop(): Promise<void>;
}

/** A real Nix with a store, a state directory and a configuration of its own. */
export interface TestNix extends AsyncDisposable {
  /** Short, readable by every user, removed on dispose. */
  readonly dir: string;
  /** The logical store folder: `dir/store`, or `/nix/store` for a chroot store. */
  readonly storeDir: string;
  /** Where the database is, as a path of the real file system. */
  readonly stateDir: string;
  /**
   * The whole environment for a child. `NIX_REMOTE` is absent, except for a chroot store, where it
   * names that store.
   */
  readonly env: Readonly<Record<string, string>>;
  /** Runs a command with {@link env}; rejects if it fails unless told otherwise. */
  run(command: string, args: readonly string[], options?: RunOptions): Promise<RunResult>;
  /** Builds all outputs of a Nix expression and returns them. In a chroot store Nix needs namespaces. */
  build(
    expression: string,
    options?: { readonly attr?: string; readonly tag?: string },
  ): Promise<string[]>;
  /** Adds a file with these contents to the store and returns its path. */
  add(name: string, contents: string): Promise<string>;
  /** Starts a real daemon; it accepts connections when the promise resolves. */
  startDaemon(): Promise<TestDaemon>;
}

/**
 * Toy packages that need no nixpkgs: `lib`, `app` (outputs out and dev, refers to lib), `tool`
 * (refers to app) and `data`. Another `tag` gives other store paths.
 */
export const TOY_PACKAGES: string = shPackages(
  `rec {
  lib = sh "lib-\${tag}" { } "mkdir $out; echo lib \${tag} > $out/f";
  app = sh "app-\${tag}" { outputs = [ "out" "dev" ]; inherit lib; }
    "mkdir -p $out/bin $dev; echo $lib > $out/bin/app; chmod +x $out/bin/app; ln -s $out $dev/link";
  tool = sh "tool-\${tag}" { inherit app; } "mkdir -p $out/bin; ln -s $app/bin/app $out/bin/tool";
  data = sh "data-\${tag}" { } "echo data \${tag} > $out";
}`,
  '{ tag ? "1" }:',
);

const CONFIGURATION = [
  "build-users-group =",
  "sandbox = false",
  "substituters =",
  "experimental-features = nix-command",
  "sandbox-paths = /bin? /usr? /lib? /lib64?",
  "",
].join("\n");

/**
 * Makes a throw-away Nix.
 *
 * @param options.root Make a chroot store (`local?root=`), whose logical folder is `/nix/store`.
 * @throws {Error} If there is no `nix-store` on the PATH.
 */
export async function createTestNix(options?: { readonly root?: boolean }): Promise<TestNix> {
  await assertNixInstalled();
  const dir = await mkdtemp(join(await realpath("/tmp"), "hp-"));
  await chmod(dir, 0o755);
  for (const name of ["etc", "home", "tmp", "expressions"]) await mkdir(join(dir, name));
  await chmod(join(dir, "home"), 0o1777);
  await chmod(join(dir, "tmp"), 0o1777);
  await writeFile(join(dir, "etc/nix.conf"), CONFIGURATION);
  const nix = new PrivateNix(dir, options?.root === true);
  await nix.run("nix-store", ["--init"]);
  return nix;
}

class PrivateNix implements TestNix {
  readonly dir: string;
  readonly storeDir: string;
  readonly stateDir: string;
  readonly env: Readonly<Record<string, string>>;
  readonly #daemons = new Set<TestDaemon>();
  #files = 0;

  constructor(dir: string, isChroot: boolean) {
    this.dir = dir;
    this.storeDir = isChroot ? "/nix/store" : join(dir, "store");
    this.stateDir = join(dir, isChroot ? "root/nix/var/nix" : "var");
    const where = isChroot
      ? { NIX_REMOTE: `local?root=${dir}/root` }
      : { NIX_STORE_DIR: this.storeDir, NIX_STATE_DIR: this.stateDir, NIX_LOG_DIR: `${dir}/log` };
    this.env = {
      ...where,
      PATH: process.env["PATH"] ?? "",
      NIX_CONF_DIR: join(dir, "etc"),
      HOME: join(dir, "home"),
      XDG_CACHE_HOME: join(dir, "home/.cache"),
      XDG_CONFIG_HOME: join(dir, "home/.config"),
      XDG_DATA_HOME: join(dir, "home/.local/share"),
      XDG_STATE_HOME: join(dir, "home/.local/state"),
      TMPDIR: join(dir, "tmp"),
      LC_ALL: "C",
    };
  }

  async run(
    command: string,
    args: readonly string[],
    options: RunOptions = {},
  ): Promise<RunResult> {
    const child = spawn(command, args, {
      cwd: options.cwd ?? this.dir,
      env: { ...this.env, ...options.env },
      ...(options.uid === undefined ? {} : { uid: options.uid }),
      ...(options.gid === undefined ? {} : { gid: options.gid }),
    });
    // A child that never reads its input ends with EPIPE here; its exit status tells the story.
    child.stdin.on("error", () => undefined);
    child.stdin.end(options.stdin);
    const [stdout, stderr, status] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      exitStatus(child),
    ]);
    if (status !== 0 && options.allowFailure !== true) {
      throw new Error(`Cannot run ${command} ${args.join(" ")}: exit status ${status}\n${stderr}`);
    }
    return { stdout, stderr, status };
  }

  async build(
    expression: string,
    options: { readonly attr?: string; readonly tag?: string } = {},
  ): Promise<string[]> {
    const file = join(this.dir, "expressions", `${++this.#files}.nix`);
    await writeFile(file, expression);
    const attr = options.attr === undefined ? [] : ["-A", options.attr];
    const tag = options.tag === undefined ? [] : ["--argstr", "tag", options.tag];
    const { stdout } = await this.run("nix-instantiate", [file, ...attr, ...tag]);
    const derivations = lines(stdout).map((line) => line.replace(/!.*/, ""));
    return lines((await this.run("nix-store", ["--realise", ...derivations])).stdout);
  }

  async add(name: string, contents: string): Promise<string> {
    const folder = join(this.dir, "expressions", `${++this.#files}`);
    await mkdir(folder);
    await writeFile(join(folder, name), contents);
    return (await this.run("nix-store", ["--add", join(folder, name)])).stdout.trim();
  }

  async startDaemon(): Promise<TestDaemon> {
    const socket = join(this.stateDir, "daemon-socket/socket");
    // Not a pipe: it would end only with the last client, whose process in the daemon has it too.
    const logFile = join(this.dir, "daemon.log");
    await using log = await open(logFile, "w");
    const child = spawn("nix-daemon", [], {
      cwd: this.dir,
      env: { ...this.env, NIX_DAEMON_SOCKET_PATH: socket },
      stdio: ["ignore", "ignore", log.fd],
    });
    const ended = exitStatus(child);
    const killNow = (): void => void child.kill("SIGKILL");
    process.once("exit", killNow);
    const daemon: TestDaemon = {
      socket,
      stop: async () => {
        // Nix sleeps on if a signal comes between its look at signals and its wait for a client.
        const again = setInterval(() => child.kill(), 200);
        child.kill();
        await ended;
        clearInterval(again);
        process.off("exit", killNow);
        this.#daemons.delete(daemon);
        await rm(socket, { force: true });
      },
    };
    this.#daemons.add(daemon);
    await accepting({ at: socket, ended, words: () => readFile(logFile, "utf8") });
    return daemon;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const daemon of this.#daemons) await daemon.stop();
    // Store folders are read-only, which stops everybody but root from emptying them.
    if (process.getuid?.() !== 0) await this.run("chmod", ["-R", "u+w", this.dir]);
    await rm(this.dir, { recursive: true, force: true, maxRetries: 5 });
  }
}

async function assertNixInstalled(): Promise<void> {
  for (const folder of (process.env["PATH"] ?? "").split(delimiter)) {
    const found = await access(join(folder, "nix-store"), constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return;
  }
  throw new Error("Cannot find nix-store on the PATH: install Nix (2.8 or newer) to run this test");
}

async function exitStatus(child: ChildProcess): Promise<number> {
  await once(child, "close");
  if (child.signalCode === null) return child.exitCode ?? 0;
  return 128 + osConstants.signals[child.signalCode];
}

function lines(output: string): string[] {
  return output.split("\n").filter((line) => line !== "");
}
