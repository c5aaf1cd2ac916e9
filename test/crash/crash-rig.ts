import assert from "node:assert/strict";
import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { randomBytes, randomInt } from "node:crypto";
import { once } from "node:events";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";

import { type ServeRig, type ServeRigOptions, startHandpick, startServe } from "../handpick.ts";
import { createTestNix, type TestNix } from "../nix.ts";
import { checkCache, checkFolder, type NixRecord, nixRecords } from "./cache-check.ts";
import { CrashProxy } from "./crash-proxy.ts";
import type { Left } from "./moment.ts";

/** How many kills of each kind are tried. */
export const ROUNDS: number = Number(process.env["HANDPICK_CRASH_ROUNDS"] ?? 8);

/** The seed that a test begins with; name one to see the same moments again. */
export const SEED: number = Number(process.env["HANDPICK_CRASH_SEED"] ?? randomInt(2 ** 31));

const CHAIN_LENGTH = 14;
/** Two parts of 8 MiB at most, the second large enough to be told from those of small paths. */
const LARGE_BYTES = 19 << 19;
const LARGE_PARTS = 2;

/** A closure that is pushed over and over: a chain of files, its top also refers to a large one. */
export interface Corpus extends AsyncDisposable {
  readonly nix: TestNix;
  readonly top: string;
  readonly large: string;
  readonly records: readonly NixRecord[];
}

export async function createCorpus(): Promise<Corpus> {
  const nix = await createTestNix({ root: true });
  const file = join(nix.dir, "large");
  await writeFile(file, randomBytes(LARGE_BYTES));
  const expression = `
    let link = n: if n == 0 then builtins.toFile "link" "the first"
      else builtins.toFile "link" "number \${toString n}, after \${link (n - 1)}";
    in builtins.toFile "top" "\${link ${CHAIN_LENGTH - 1}} \${${file}}"`;
  const evaluate = ["--eval", "--read-write-mode", "-E", expression];
  const { stdout } = await nix.run("nix-instantiate", evaluate);
  const top = JSON.parse(stdout) as string;
  const picks = [{ name: "top", paths: [top], pin: "top" }];
  const manifest = { version: 1, name: "crash", picks };
  await writeFile(join(nix.dir, "picks.json"), JSON.stringify(manifest));
  const records = await nixRecords(nix);
  const large = records.find(({ path }) => path.endsWith("-large"))?.path ?? "";
  return {
    nix,
    top,
    large,
    records,
    [Symbol.asyncDispose]: () => nix[Symbol.asyncDispose](),
  };
}

/** One event of `push --json`. */
export interface PushLine {
  readonly event: string;
  readonly path?: string;
  readonly push?: number;
  readonly error?: { readonly code: string; readonly message: string };
}

/** A push under way. */
export interface Push {
  readonly process: ChildProcessWithoutNullStreams;
  /** What it said so far. */
  readonly lines: readonly PushLine[];
  /** Settles when it is gone: its exit status, or -1 if a signal ended it. */
  readonly ended: Promise<number>;
  /** What went wrong by its own account, for messages. */
  readonly complaints: () => Promise<string>;
}

/** A cache on disk whose server may die, and a proxy that pushes go through. */
export class CrashRig implements AsyncDisposable {
  readonly corpus: Corpus;
  readonly proxy: CrashProxy;
  /** Pushes at once may each pin. */
  mostRevisions = 1;
  readonly #reported = new Set<string>();
  readonly #verified = new Set<string>();
  readonly #pushes: ChildProcessWithoutNullStreams[] = [];
  #stored: ReadonlySet<string> = new Set();
  #serve: ServeRig;

  private constructor(corpus: Corpus, serve: ServeRig, proxy: CrashProxy) {
    this.corpus = corpus;
    this.proxy = proxy;
    this.#serve = serve;
  }

  static async start(corpus: Corpus): Promise<CrashRig> {
    const { nix } = corpus;
    const dir = join(nix.dir, `cache-${randomInt(2 ** 31)}`);
    const serve = await startServe(nix, serveOptions(dir));
    return new CrashRig(corpus, serve, await CrashProxy.start(serve.url));
  }

  get serve(): ServeRig {
    return this.#serve;
  }

  /** Starts `handpick push` of the corpus. */
  async push(through: CrashProxy = this.proxy): Promise<Push> {
    const { nix } = this.corpus;
    const config = join(nix.dir, `config-${new URL(through.url).port}.toml`);
    const cache = `[caches.crash]\nurl = "cachix://crash"\nhost = "${through.url}"\ntoken-env = "T"\n`;
    await writeFile(config, cache);
    const args = ["push", "--json", "--config", config, "picks.json"];
    const child = startHandpick(nix, args, { env: { T: this.#serve.token }, uncovered: true });
    this.#pushes.push(child);
    const lines: PushLine[] = [];
    const read = async (): Promise<void> => {
      for await (const line of createInterface({ input: child.stdout })) {
        const event = JSON.parse(line) as PushLine;
        lines.push(event);
        if (event.event === "pushed") this.#reported.add(event.path ?? "");
      }
    };
    const stderr = text(child.stderr);
    const ended = Promise.all([once(child, "close"), read()]);
    return {
      process: child,
      lines,
      ended: ended.then(() => child.exitCode ?? -1),
      complaints: async () => {
        const errors = lines.filter(({ error }) => error !== undefined);
        return (await stderr) + errors.map((line) => JSON.stringify(line)).join("\n");
      },
    };
  }

  /** Runs a push that has to go well and to send what was missing, and nothing else. */
  async pushTheRest(): Promise<void> {
    const begun = this.proxy.counts.get("begin") ?? 0;
    const push = await this.push();
    assert.equal(await push.ended, 0, await push.complaints());
    const missing = this.corpus.records.length - this.#stored.size;
    const planned = push.lines[0]?.push ?? Infinity;
    // The server may have been at work for the push that died until after we looked.
    assert.ok(planned <= missing, `${planned} were planned where ${missing} were missing`);
    assert.equal((this.proxy.counts.get("begin") ?? 0) - begun, planned, "only that is sent");
    await this.checkComplete();
  }

  /** Checks everything that is to be true whatever died. */
  async check(): Promise<ReadonlySet<string>> {
    const contents = await checkCache(
      { url: this.#serve.url, name: "crash", token: this.#serve.token },
      this.corpus.records,
      this.#verified,
    );
    for (const path of this.#reported) {
      assert.ok(contents.stored.has(path), `${path} was reported as pushed and is lost`);
    }
    this.#stored = contents.stored;
    return contents.visible;
  }

  /** Checks that the whole closure can be read and that its top is pinned, once. */
  async checkComplete(): Promise<void> {
    this.#verified.clear();
    const visible = await this.check();
    assert.equal(visible.size, this.corpus.records.length, "everything is visible");
    const [pin, ...others] = await this.#pins();
    assert.deepEqual([pin?.name, pin?.path, others], ["top", this.corpus.top, []]);
    assert.ok((pin?.revision ?? 0) <= this.mostRevisions, "what is pinned is not pinned again");
  }

  /** What the cache lacked at the last check. */
  async left(): Promise<Left> {
    const missing = this.corpus.records.filter(({ path }) => !this.#stored.has(path));
    const small = missing.filter(({ path }) => path !== this.corpus.large);
    const isPinned = (await this.#pins()).length > 0;
    const largeParts = small.length < missing.length ? LARGE_PARTS : 0;
    return { smallPaths: small.length, largeParts, isPinned };
  }

  killServer(): void {
    this.#serve.process.kill("SIGKILL");
  }

  /** Starts the server that was killed again; requests wait for it, the checks and `andThen`. */
  async restart(andThen?: () => Promise<void>): Promise<void> {
    const ready = Promise.withResolvers<string>();
    this.proxy.target = ready.promise;
    const { nix } = this.corpus;
    if (this.#serve.process.exitCode === null && this.#serve.process.signalCode === null) {
      await once(this.#serve.process, "exit");
    }
    this.#serve = await startServe(nix, serveOptions(this.#serve.dir));
    await checkFolder(this.#serve.dir);
    await this.check();
    await andThen?.();
    ready.resolve(this.#serve.url);
  }

  /** Ends everything, and pushes that a failed test left to try again and again. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const push of this.#pushes) push.kill("SIGKILL");
    await this.proxy[Symbol.asyncDispose]();
    await this.#serve[Symbol.asyncDispose]();
    await rm(this.#serve.dir, { recursive: true, force: true });
  }

  async #pins(): Promise<{ name: string; path: string; revision: number }[]> {
    const response = await fetch(`${this.#serve.url}/api/v1/cache/crash/pin`);
    const pins = (await response.json()) as {
      readonly name: string;
      readonly lastRevision: { readonly storePath: string; readonly revision: number };
    }[];
    return pins.map(({ name, lastRevision }) => ({
      name,
      path: lastRevision.storePath,
      revision: lastRevision.revision,
    }));
  }
}

/** On all addresses, a server names the host in part URLs by which it was asked: the proxy. */
function serveOptions(dir: string): ServeRigOptions {
  return { name: "crash", dir, args: ["--listen", "0.0.0.0:0"], uncovered: true };
}
