import { withoutSecrets } from "../config/credentials.ts";
import { compileGlob } from "../nix/glob.ts";
import type { StorePath } from "../nix/store-path.ts";
import { toFailure } from "../error.ts";
import { whoBuilds } from "../store/who-builds.ts";
import type { Summary } from "../run/events.ts";
import { HookSource } from "./hook-source.ts";
import { LivePusher, type LivePusherOptions } from "./live-pusher.ts";
import { configuredHook } from "./nix-settings.ts";
import type { PathSource } from "./path-source.ts";
import { type RunningCommand, startCommand } from "./run-command.ts";
import { StoreSource } from "./store-source.ts";
import { wakes } from "./wakes.ts";

/** How it is found out what a command builds. */
export type Way = "hook" | "store";

export interface ExecRequest extends LivePusherOptions {
  /** Program and arguments. */
  readonly command: readonly string[];
  readonly cwd: string;
  /** True if paths count that were not built but brought in. */
  readonly substituted: boolean;
  /** @default {the hook where Nix surely runs it} */
  readonly way: Way | undefined;
  /** Told of the command once it runs. */
  readonly onStart: (command: RunningCommand) => void;
}

export interface ExecEnd {
  /** The command's. */
  readonly exitCode: number;
  readonly summary: Summary;
  /** Number of new paths that the rules were asked about. */
  readonly seen: number;
  /** True if the rules accepted one of them. */
  readonly hasAccepted: boolean;
  /** Globs of `[builds]` that fit none of them. */
  readonly idle: readonly string[];
  /** True if the store failed, so that something may have been missed. */
  readonly isIncomplete: boolean;
}

/**
 * Runs a command and pushes what it builds, while it runs and to the end:
 *
 *     hook or mark in place -> command starts -> (something new -> rules -> push)* -> command ends
 *                                                -> what came last -> once more what caches missed
 *
 * Whatever happens to the pushing, the command runs to its own end.
 *
 * @throws {HandpickError} If the command does not start, or nothing can tell what it builds.
 * @throws The reason `signal` was aborted with before the command started.
 */
export async function execCommand(request: ExecRequest): Promise<ExecEnd> {
  await using source = await openSource(request);
  request.onEvent({
    event: "note",
    text: `pushing builds that the rules accept, found by ${source.description}`,
  });
  const { cwd, env } = request;
  request.signal.throwIfAborted();
  const command = await startCommand(request.command, { cwd, env: { ...env, ...source.env } });
  request.onStart(command);
  const over = new AbortController();
  await using pump = new Pump(source, request);
  const pumping = pump.run(over.signal);
  const exitCode = await command.ended;
  over.abort();
  await pumping;
  return { exitCode, ...pump.result() };
}

/** A hook sees the builds of the command and no others, so it comes first where Nix runs it. */
async function openSource(request: ExecRequest): Promise<PathSource> {
  const { store, config, env, substituted, way } = request;
  const isHook = way === "hook" || (way === undefined && !substituted && (await obeys(request)));
  const configured = isHook ? await configuredHook(withoutSecrets(env, config)) : undefined;
  const hook = isHook ? await HookSource.make({ store, env, configured }) : undefined;
  return hook ?? (await StoreSource.open(store, { substituted }));
}

async function obeys({ store, env }: ExecRequest): Promise<boolean> {
  return (await whoBuilds(env, store)) !== "daemon";
}

/** Moves paths from the source to the caches. */
class Pump implements AsyncDisposable {
  readonly #source: PathSource;
  readonly #request: ExecRequest;
  readonly #pusher: LivePusher;
  readonly #idle: Map<string, (path: StorePath) => boolean>;
  /** A set, since paths come again after the store failed. */
  readonly #seen = new Set<StorePath>();
  #hasAccepted = false;
  #isIncomplete = false;

  constructor(source: PathSource, request: ExecRequest) {
    this.#source = source;
    this.#request = request;
    this.#pusher = new LivePusher(request);
    const { include } = request.config.builds;
    this.#idle = new Map(include.map((glob) => [glob, compileGlob(glob)]));
  }

  /** Goes on until `over` and then takes the rest, or ends when it is to give up. */
  async run(over: AbortSignal): Promise<void> {
    const { signal } = this.#request;
    for await (const _ of wakes(this.#source.folder, { signal: AbortSignal.any([over, signal]) })) {
      await this.#look();
    }
    if (signal.aborted) return;
    const wasBehind = this.#pusher.isBehind;
    await this.#look();
    if (wasBehind && !signal.aborted) await this.#attempt(() => this.#pusher.retry());
  }

  result(): Omit<ExecEnd, "exitCode"> {
    const [hasAccepted, isIncomplete] = [this.#hasAccepted, this.#isIncomplete];
    const isInterrupted = this.#request.signal.aborted;
    const summary = this.#pusher.tally.summary({ isInterrupted });
    const [seen, idle] = [this.#seen.size, [...this.#idle.keys()]];
    return { summary, seen, hasAccepted, idle, isIncomplete };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pusher[Symbol.asyncDispose]();
  }

  async #look(): Promise<void> {
    this.#isIncomplete = !(await this.#attempt(async () => {
      const { paths, done } = await this.#source.take();
      await this.#pusher.push(paths, ({ length }) => this.#count(paths, length > 0));
      await done();
    }));
  }

  #count(paths: readonly StorePath[], hasAccepted: boolean): void {
    for (const path of paths) this.#seen.add(path);
    this.#hasAccepted ||= hasAccepted;
    for (const [glob, fits] of this.#idle) if (paths.some(fits)) this.#idle.delete(glob);
  }

  /** A store that fails is asked again at the next look. */
  async #attempt(task: () => Promise<void>): Promise<boolean> {
    try {
      await task();
      return true;
    } catch (error) {
      if (!this.#request.signal.aborted) {
        this.#request.onEvent({ event: "error", error: toFailure(error) });
      }
      return false;
    }
  }
}
