import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { randomBytes, randomUUID } from "node:crypto";
import { mkdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

import type { Status } from "../../src/sync/status.ts";
import { handpick, type Result, startHandpick } from "../handpick.ts";
import { createTestNix, type TestNix } from "../nix.ts";

/** The last line of `sync --json`. */
export interface SyncSummary {
  readonly pushed: number;
  readonly present: number;
  readonly failed: number;
}

/** A machine that wants things: a Nix, a state folder, and what hooks do in it. */
export class SyncRig implements AsyncDisposable {
  readonly nix: TestNix;
  readonly state: string;
  readonly env: Readonly<Record<string, string>>;
  /**
   * Makes store paths differ from those of every other rig: Nix's collector spares what any process
   * of the machine names in its environment, and a push in a chroot store does that.
   */
  readonly #salt = randomBytes(8).toString("hex");

  private constructor(nix: TestNix) {
    this.nix = nix;
    this.state = join(nix.dir, "state");
    this.env = { HANDPICK_STATE_DIR: this.state };
  }

  static async create(): Promise<SyncRig> {
    return new SyncRig(await createTestNix({ root: true }));
  }

  /**
   * Makes the toy packages of a tag, `lib`, `app` (refers to lib), `tool` (refers to app) and `data`,
   * and a manifest of picks that refers to theirs, as Nix code would.
   */
  async select(name: string, picks: readonly ToyPick[], tag = "1"): Promise<Selected> {
    const nixPicks = picks.map(({ packages, ...rest }) => {
      const settings = JSON.stringify(JSON.stringify({ name: packages[0], ...rest }));
      return `((builtins.fromJSON ${settings}) // { paths = [ ${packages.join(" ")} ]; })`;
    });
    const expression = `with rec {
      lib = builtins.toFile "lib-${tag}" "lib ${tag} ${this.#salt}";
      app = builtins.toFile "app-${tag}" "app \${lib}";
      tool = builtins.toFile "tool-${tag}" "tool \${app}";
      data = builtins.toFile "data-${tag}" "data ${tag} ${this.#salt}";
      json = builtins.toJSON { version = 1; name = "${name}"; picks = [ ${nixPicks.join(" ")} ]; };
      manifest = builtins.toFile "handpick-${name}.json" json;
    }; { inherit lib app tool data manifest; }`;
    const evaluate = ["--eval", "--json", "--strict", "--read-write-mode", "-E", expression];
    const { stdout } = await this.nix.run("nix-instantiate", evaluate);
    return JSON.parse(stdout) as Selected;
  }

  /** Makes a derivation whose output is there already: building takes namespaces. */
  async derive(name: string): Promise<{ readonly derivation: string; readonly path: string }> {
    const path = await this.nix.add(name, `${name} ${this.#salt}`);
    const file = join(this.nix.dir, "root", path);
    const hash = await this.nix.run("nix-hash", ["--type", "sha256", "--base32", file]);
    const expression = `derivation {
      name = "${name}"; system = "any"; builder = "/none"; outputHashMode = "recursive";
      outputHashAlgo = "sha256"; outputHash = "${hash.stdout.trim()}";
    }`;
    const { stdout } = await this.nix.run("nix-instantiate", ["-E", expression]);
    return { derivation: stdout.trim(), path };
  }

  /** Makes a selection and wants it. */
  async declare(name: string, picks: readonly ToyPick[], tag?: string): Promise<Selected> {
    const selected = await this.select(name, picks, tag);
    await this.want(name, selected.manifest);
    return selected;
  }

  /** Collects all garbage; tells which of these paths are left. */
  async collect(paths: readonly string[]): Promise<string[]> {
    await this.nix.run("nix-store", ["--gc"]);
    const args = ["--check-validity", "--print-invalid", ...paths];
    const { stdout } = await this.nix.run("nix-store", args, { allowFailure: true });
    const gone = new Set(stdout.split("\n"));
    return paths.filter((path) => !gone.has(path));
  }

  /** Collects until all of these are gone: a daemon notices late that a connection was closed. */
  async collectAll(paths: readonly string[]): Promise<void> {
    let left = paths;
    for (let tries = 20; tries > 0 && left.length > 0; tries -= 1) left = await this.collect(paths);
    if (left.length > 0) throw new Error(`still there: ${left.join(" ")}`);
  }

  /** Does what a hook does: replaces the link, then leaves a mark. */
  async want(name: string, manifest: string): Promise<void> {
    for (const folder of ["wanted", "spool"]) {
      await mkdir(join(this.state, folder), { recursive: true, mode: 0o700 });
    }
    const temporary = join(this.state, `wanted/.${randomUUID()}`);
    await symlink(manifest, temporary);
    await rename(temporary, join(this.state, "wanted", name));
    const hidden = join(this.state, `spool/.${randomUUID()}`);
    await writeFile(hidden, "");
    await rename(hidden, join(this.state, `spool/wanted-${name}`));
  }

  /** Replaces the configuration by caches at these URLs, which take the token, and more TOML. */
  async configure(
    caches: Readonly<Record<string, string>>,
    token: string,
    more = "",
  ): Promise<void> {
    const tokenFile = join(this.nix.dir, "token");
    await writeFile(tokenFile, token);
    const tables = Object.entries(caches).map(([name, url]) => {
      const settings = `url = "cachix://${name}"\nhost = "${url}"\ntoken-file = "${tokenFile}"\n`;
      return `[caches.${name}]\n${settings}`;
    });
    await writeFile(join(this.nix.dir, "handpick.toml"), `${tables.join("")}${more}`);
  }

  /** Does what a post-build-hook does: leaves word of a build. */
  async built(event: string, lines: readonly string[]): Promise<void> {
    const spool = join(this.state, "spool");
    await mkdir(spool, { recursive: true, mode: 0o700 });
    const hidden = join(spool, `.${randomUUID()}`);
    await writeFile(hidden, `${lines.join("\n")}\n`);
    await rename(hidden, join(spool, `built-${event}`));
  }

  async withdraw(name: string): Promise<void> {
    await rm(join(this.state, "wanted", name));
  }

  /** Starts a sync that a test does something to. */
  start(...args: string[]): ChildProcessWithoutNullStreams {
    return startHandpick(this.nix, ["sync", ...args], { env: this.env });
  }

  /** Looks into the ledger, or changes it: time passes quickly there. */
  ledger(statement: string): readonly unknown[] {
    using db = new DatabaseSync(join(this.state, "ledger.sqlite"));
    return db.prepare(statement).all();
  }

  async sync(...args: string[]): Promise<Result> {
    return handpick(this.nix, ["sync", ...args], { env: this.env });
  }

  /** Runs a sync that has to end well. */
  async synced(...args: string[]): Promise<SyncSummary> {
    return this.syncedWith(0, ...args);
  }

  /** Runs a sync that has to end with an exit code. */
  async syncedWith(status: number, ...args: string[]): Promise<SyncSummary> {
    const result = await this.sync("--json", ...args);
    if (result.status !== status) {
      throw new Error(`sync ended with ${result.status}: ${result.stderr}`);
    }
    return JSON.parse(result.stdout.trim().split("\n").at(-1) ?? "") as SyncSummary;
  }

  async status(): Promise<Status> {
    const result = await handpick(this.nix, ["status", "--json"], { env: this.env });
    if (result.status !== 0) throw new Error(`status failed: ${result.stderr}`);
    return JSON.parse(result.stdout) as Status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.nix[Symbol.asyncDispose]();
  }
}

/** A pick of toy packages, named after the first. */
export interface ToyPick {
  readonly packages: readonly ("lib" | "app" | "tool" | "data")[];
  readonly caches?: readonly string[];
  readonly closure?: "runtime" | "self";
  readonly pin?: string;
  readonly hints?: Readonly<Record<string, unknown>>;
}

/** The store paths of all toy packages and of the manifest. */
export type Selected = Readonly<Record<"lib" | "app" | "tool" | "data" | "manifest", string>>;
