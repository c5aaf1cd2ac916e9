import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

import {
  handpick,
  isServed,
  type Result,
  type ServeRig,
  startHandpick,
  startServe,
} from "../handpick.ts";
import { createTestNix, type TestNix, TOY_PACKAGES } from "../nix.ts";

/** Why what is the same with every Nix is not tried with each, or `false`. */
export const onceOnly: string | false =
  process.env["HANDPICK_TEST_MATRIX"] !== undefined &&
  "it does not depend on the version of Nix and is tried outside of the matrix";

/** Waits until a stream has said something; others may read it as well. */
export async function told(stream: NodeJS.ReadableStream, words: string): Promise<void> {
  let text = "";
  await new Promise<void>((resolve, reject) => {
    stream.on("data", (chunk: Buffer) => {
      text += String(chunk);
      if (text.includes(words)) resolve();
    });
    stream.once("end", () => reject(new Error(`Expected ${words}, found ${text}`)));
  });
}

/** The names of the paths in the closure of all outputs of `app`. */
export const APP_CLOSURE = (tag: string): string[] => [
  `app-${tag}`,
  `app-${tag}-dev`,
  `lib-${tag}`,
];

/** A machine on which things are built, with a cache. */
export class LiveRig implements AsyncDisposable {
  readonly nix: TestNix;
  readonly serve: ServeRig;
  readonly state: string;
  readonly #started: ChildProcessWithoutNullStreams[] = [];
  /** For handpick, and so for what it starts. */
  readonly env: Readonly<Record<string, string>>;

  private constructor(nix: TestNix, serve: ServeRig) {
    this.nix = nix;
    this.serve = serve;
    this.state = join(nix.dir, "state");
    this.env = { HANDPICK_STATE_DIR: this.state };
  }

  static async create(): Promise<LiveRig> {
    const nix = await createTestNix({ root: true });
    const rig = new LiveRig(nix, await startServe(nix));
    await writeFile(join(nix.dir, "toy.nix"), TOY_PACKAGES);
    return rig;
  }

  /** The words that build packages of the toys under a tag. */
  building(tag: string, ...packages: readonly string[]): string[] {
    const attributes = packages.flatMap((name) => ["-A", name]);
    return ["nix-build", "toy.nix", "--no-out-link", "--argstr", "tag", tag, ...attributes];
  }

  async exec(...args: readonly string[]): Promise<Result> {
    return handpick(this.nix, ["exec", ...args], { env: this.env });
  }

  start(...args: readonly string[]): ChildProcessWithoutNullStreams {
    const child = startHandpick(this.nix, args, { env: this.env });
    this.#started.push(child);
    return child;
  }

  /** Replaces the configuration by one whose cache is elsewhere. */
  async moveCache(url: string, more = ""): Promise<void> {
    const tokenFile = join(this.nix.dir, "token");
    await writeFile(tokenFile, this.serve.token, { mode: 0o600 });
    const settings = `url = "cachix://mine"\nhost = "${url}"\ntoken-file = "${tokenFile}"\n`;
    await writeFile(join(this.nix.dir, "handpick.toml"), `[caches.mine]\n${settings}${more}`);
  }

  /** The names of all paths that readers get, sorted. */
  async served(): Promise<string[]> {
    const names: string[] = [];
    for (const name of await readdir(join(this.nix.dir, "root/nix/store"))) {
      if (!/^\w{32}-/.test(name) || name.endsWith(".lock")) continue;
      if (!(await isServed(this.serve, name))) continue;
      names.push(name.slice(33));
    }
    return names.toSorted();
  }

  /** Files that handpick left in the folder for temporary ones. */
  async leftovers(): Promise<string[]> {
    const names = await readdir(join(this.nix.dir, "tmp"));
    return names.filter((name) => name.startsWith("handpick"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // A test that fails leaves what it started, and the file would never end.
    for (const child of this.#started) child.kill("SIGKILL");
    await this.serve[Symbol.asyncDispose]();
    await this.nix[Symbol.asyncDispose]();
  }
}
