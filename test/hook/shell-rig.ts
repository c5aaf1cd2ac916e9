import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir, readFile, readlink, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { join } from "node:path";

import { parseManifest } from "../../src/nix/manifest.ts";
import { BUNDLE, type Result, resultOf } from "../handpick.ts";
import { ROOT } from "../markdown.ts";
import { createTestNix, type TestNix } from "../nix.ts";

/** A sync that runs, as the kernel sees it. */
export interface Sync {
  readonly pid: number;
  readonly cwd: string;
  readonly isSessionLeader: boolean;
  readonly hasTerminal: boolean;
  readonly descriptors: readonly string[];
}

/** How long a sync may take to ask the cache. */
const LONGEST_MS = 30_000;

/** A project with a shell that selects, and a cache that takes connections and says nothing. */
export class ShellRig implements AsyncDisposable {
  readonly nix: TestNix;
  readonly project: string;
  readonly state: string;
  readonly env: Readonly<Record<string, string>>;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(nix: TestNix, server: Server, bash: string) {
    this.nix = nix;
    this.#server = server;
    this.project = join(nix.dir, "project");
    this.state = join(nix.dir, "state");
    this.env = { NIX_BUILD_SHELL: bash, HANDPICK_STATE_DIR: this.state };
    server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.on("error", () => undefined);
    });
  }

  static async create(): Promise<ShellRig> {
    const nix = await createTestNix();
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const bash = (await nix.run("sh", ["-c", "command -v bash"])).stdout.trim();
    const rig = new ShellRig(nix, server, bash);
    await mkdir(rig.project);
    await writeFile(join(rig.project, "shell.nix"), shellText(bash));
    const { port } = server.address() as AddressInfo;
    const config = join(nix.dir, "home/.config/handpick");
    await mkdir(config, { recursive: true });
    await writeFile(join(nix.dir, "token"), "secret");
    await writeFile(
      join(config, "config.toml"),
      `[caches.mine]
url = "cachix://mine"
host = "http://127.0.0.1:${port}"
token-file = "${nix.dir}/token"
`,
    );
    return rig;
  }

  /** Runs a command in the project until nobody has its output any more. */
  async enter(
    [program = "", ...args]: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): Promise<Result> {
    const options = { cwd: this.project, env: { ...this.nix.env, ...this.env, ...env } };
    const child = spawn(program, args, options);
    child.stdin.end();
    return resultOf(child);
  }

  /** The sync that runs, once it asks the cache. */
  async nextSync(): Promise<Sync> {
    const signal = AbortSignal.timeout(LONGEST_MS);
    if (this.#sockets.size === 0) await once(this.#server, "connection", { signal });
    const [sync, ...others] = await this.syncs();
    if (sync === undefined || others.length > 0) throw new Error("There is not one sync");
    return sync;
  }

  /** Reads what the shell selected, without its store paths. */
  async picks(): Promise<Record<string, unknown>[]> {
    const manifest = await readFile(join(this.state, "wanted/project"), "utf8");
    const { picks } = parseManifest(manifest, { storeDir: this.nix.storeDir });
    return picks.map(({ name, caches, closure, exclude, pin }) => ({
      name,
      caches,
      closure,
      exclude,
      ...(pin === undefined ? {} : { pin }),
    }));
  }

  /** Kills a sync; the cache is as if nobody had asked. */
  async kill({ pid }: Sync): Promise<void> {
    process.kill(pid, "SIGKILL");
    for (const socket of this.#sockets) {
      if (!socket.destroyed) await once(socket.resume(), "close");
    }
    this.#sockets.clear();
  }

  /** All processes with this state folder that are a sync. */
  async syncs(): Promise<Sync[]> {
    const found = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
    const syncs = await Promise.all(found.map((pid) => this.#look(Number(pid))));
    return syncs.filter((sync) => sync !== undefined);
  }

  async #look(pid: number): Promise<Sync | undefined> {
    const file = (name: string): string => join("/proc", String(pid), name);
    try {
      const words = (await readFile(file("cmdline"), "utf8")).split("\0");
      const environment = (await readFile(file("environ"), "utf8")).split("\0");
      if (!words.includes("sync") || !words.includes(BUNDLE)) return undefined;
      if (words.includes("--detach")) return undefined; // about to end
      if (!environment.includes(`HANDPICK_STATE_DIR=${this.state}`)) return undefined;
      const status = await readFile(file("stat"), "utf8");
      const [, , , session, terminal] = status.slice(status.lastIndexOf(")") + 2).split(" ");
      return {
        pid,
        cwd: await readlink(file("cwd")),
        isSessionLeader: Number(session) === pid,
        hasTerminal: terminal !== "0",
        descriptors: await Promise.all([0, 1, 2].map((fd) => readlink(file(`fd/${fd}`)))),
      };
    } catch {
      return undefined; // of somebody else, or gone
    }
  }

  async killAll(): Promise<void> {
    for (const sync of await this.syncs()) await this.kill(sync);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.killAll();
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await this.nix[Symbol.asyncDispose]();
  }
}

/** `shell` selects, `plain` is the same without; `file` is the hook to source. */
function shellText(bash: string): string {
  return `
{ selects ? true }:
let
  pkgs = import ${ROOT}test/toy-pkgs.nix { bash = "${bash}"; };
  program = derivation {
    name = "handpick";
    system = builtins.currentSystem;
    builder = "${bash}";
    PATH = "/usr/bin:/bin";
    text = "#!/bin/sh\\nexec '${process.execPath}' '${BUNDLE}' \\"$@\\"\\n";
    args = [ "-c" "mkdir -p $out/bin; printf %s \\"$text\\" > $out/bin/handpick; chmod +x $out/bin/handpick; exit 0" ]; # see toy-pkgs.nix
  };
  handpick = import ${ROOT}nix/lib.nix { inherit pkgs; handpick = program; };
  # Every argument that a shell takes.
  selection = {
    name = "project";
    caches = [ "mine" ];
    closure = "runtime";
    exclude = [ "*-nothing" ];
    trigger = "auto";
    packages = [
      pkgs.words
      {
        package = pkgs.greet;
        outputs = [ "out" ];
        name = "greeting";
        caches = [ "mine" ];
        closure = "self";
        exclude = [ ];
        pin = "greet";
      }
    ];
  };
in
pkgs.mkShellNoCC {
  shellHook = if selects then handpick.shellHook selection else ":";
} // {
  file = handpick.shellHookFile selection;
}
`;
}
