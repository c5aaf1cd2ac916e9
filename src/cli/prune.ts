import { once } from "node:events";
import { resolve } from "node:path";
import { createInterface } from "node:readline/promises";

import type { CachePruner } from "../cache/contract.ts";
import { kindOf } from "../cache/kinds.ts";
import { chooseCache } from "../config/choose-cache.ts";
import type { CacheConfig } from "../config/config.ts";
import { loadConfig } from "../config/find-config.ts";
import { untrusted } from "../config/found-file.ts";
import { stateDirectory, SYSTEM_STATE_DIRECTORY } from "../config/state-directory.ts";
import { EXIT, HandpickError } from "../error.ts";
import { quote } from "../nix/format-error.ts";
import { carryOut, type Pruned } from "../prune/carry-out.ts";
import { decide } from "../prune/decide.ts";
import { gatherNeeds, type GatheredNeeds } from "../prune/gather-needs.ts";
import type { Cutoffs } from "../prune/leftovers.ts";
import { type Preview, previewOf } from "../prune/preview.ts";
import { type Inventory, survey, type SurveyOptions } from "../prune/survey.ts";
import { writeText } from "../report/output.ts";
import { painter } from "../report/painter.ts";
import { previewLines, prunedLines } from "../report/prune-lines.ts";
import { openStatusLine } from "../report/status-line.ts";
import { openConfigured, type OpenedCache } from "../run/open-caches.ts";
import { stateFolder, type StateFolder } from "../state/state-folder.ts";
import { openStore } from "../store/open-store.ts";
import type { Store } from "../store/store.ts";
import { canRedraw } from "./choose-report.ts";
import { type CommonOptions, defineCommand, type NamedCommand } from "./command.ts";
import type { Io } from "./io.ts";
import { quietly } from "./prepare-run.ts";

interface PruneOptions extends CommonOptions {
  readonly keepWanted?: boolean;
  readonly keepDays?: string;
  readonly manifests?: readonly string[];
  readonly thisIsTheOnlyWriter?: boolean;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
  readonly store?: string;
}

const DAY_MS = 24 * 60 * 60_000;
const DEFAULT_DAYS = "30";

/** `handpick prune`: remove from a cache what no selection needs. */
export function pruneCommand(io: Io): NamedCommand {
  return defineCommand<PruneOptions>({
    usage: "prune <cache>",
    summary: "Remove from a folder or a bucket what nobody wants",
    description:
      "Remove from a cache file:// or s3:// what no selection needs. Kept is all that\n" +
      "is wanted on this machine and in the manifests of others, with all that it\n" +
      "needs, and whatever is young. Shows first what would go, and asks.",
    options: [
      ["--keep-wanted", "Keep what selections want; has to be given (default: refuse)"],
      [
        "--keep-days <n>",
        `Keep what is younger, too, with all that it needs (default: ${DEFAULT_DAYS})`,
      ],
      [
        "--manifests <file...>",
        "Manifests of all other machines that push there; put it last (default: refuse, unless --this-is-the-only-writer)",
      ],
      ["--this-is-the-only-writer", "No other machine pushes there (default: off)"],
      ["-n, --dry-run", "Show what would go; remove nothing (default: off)"],
      ["-y, --yes", "Do not ask (default: ask on a terminal, refuse elsewhere)"],
      ["--store <store>", "Nix store to read (default: auto)"],
    ],
    examples: [
      ["handpick prune usb --keep-wanted --this-is-the-only-writer -n", "what would go"],
      ["handpick prune bucket --keep-wanted --manifests laptop.json ci.json", "ask, then remove"],
    ],
    action: ([cache = ""], options) => prune(cache, options, io),
  });
}

async function prune(name: string, options: PruneOptions, io: Io): Promise<number> {
  const { env, cwd, uid, signal } = io;
  const keepDays = keepDaysOf(options);
  const note = quietly(options, io);
  const config = await loadConfig({
    file: options.config,
    env,
    cwd,
    uid,
    serves: "arguments",
    to: [name],
  });
  if (config.isFound) throw foundRefused(config.file);
  const chosen = chooseCache(config, name);
  assertPrunable(chosen);
  await using store = await openStore({ store: options.store, env, signal });
  const opened = await openConfigured(chosen, { ...io, storeDir: store.storeDir, notify: note });
  await using _cache = opened.cache;
  const { pruner } = opened.cache;
  if (pruner === undefined) throw unprunable(chosen);
  if (options.dryRun !== true) await assertRemovable(opened, signal);
  return await new Prune({ cache: chosen.name, pruner, store, keepDays, options, io }).run();
}

interface PruneAround {
  readonly cache: string;
  readonly pruner: CachePruner;
  readonly store: Store;
  readonly keepDays: number;
  readonly options: PruneOptions;
  readonly io: Io;
}

class Prune {
  readonly #around: PruneAround;

  constructor(around: PruneAround) {
    this.#around = around;
  }

  async run(): Promise<number> {
    const { cache, keepDays, options, io } = this.#around;
    const needs = await this.#gatherNeeds();
    for (const text of needs.notes) quietly(options, io)(text);
    const inventory = await this.#survey();
    const cutoffs = cutoffsOf(inventory.nowMs, keepDays);
    const decision = decide(inventory.entries, { needs, cutoffMs: cutoffs.ownMs });
    const preview = previewOf(decision, inventory, cutoffs);
    if (options.json !== true) {
      const about = { cache, keepDays, selections: needs.selections };
      for (const text of previewLines(preview, about, painter(io.stdout))) {
        writeText(io.stdout, text);
      }
    }
    const isNothing = preview.going.length + preview.files.length === 0;
    const isDry = options.dryRun === true;
    if (isDry || isNothing || !(await this.#mayRemove())) {
      if (options.json === true) this.#printJson(needs, preview);
      else if (!isDry) writeText(io.stdout, "nothing was removed");
      return EXIT.done;
    }
    const pruned = await this.#remove(preview, inventory, cutoffs);
    if (options.json === true) this.#printJson(needs, preview, pruned);
    else for (const text of prunedLines(pruned, cache)) writeText(io.stdout, text);
    return pruned.broken.length > 0 ? EXIT.somePathsFailed : EXIT.done;
  }

  async #gatherNeeds(): Promise<GatheredNeeds> {
    const { store, options, io } = this.#around;
    const folders = stateFolders(io);
    const manifests = options.manifests ?? [];
    return await gatherNeeds({ folders, manifests, store, cwd: io.cwd, signal: io.signal });
  }

  async #survey(): Promise<Inventory> {
    const { cache, io, options } = this.#around;
    const isShown = options.json !== true && options.quiet !== true && canRedraw(io);
    using line = isShown ? await openStatusLine(io.stderr as NodeJS.WriteStream) : undefined;
    const onProgress = (done: number, all: number): void =>
      line?.show(`${cache}: ${done} of ${all} narinfos read`);
    return await survey({ ...this.#surveyOptions(), onProgress });
  }

  /** What is wanted is read once more: the answer of the user may have taken hours. */
  async #remove(preview: Preview, inventory: Inventory, cutoffs: Cutoffs): Promise<Pruned> {
    const { cache, io, options } = this.#around;
    const needs = await this.#gatherNeeds();
    const isShown = options.json !== true && options.quiet !== true && canRedraw(io);
    using line = isShown ? await openStatusLine(io.stderr as NodeJS.WriteStream) : undefined;
    const all = preview.going.length + preview.files.length;
    let done = 0;
    const onRemoved = (): void => {
      done++;
      line?.show(`${cache}: ${done} of ${all} files removed`);
    };
    const doing = { ...this.#surveyOptions(), needs, cutoffs, onRemoved };
    try {
      return await carryOut(preview.decision, inventory, doing);
    } catch (error) {
      line?.[Symbol.dispose]();
      quietly(options, io)(`${cache}: ended after ${done} of ${all} files; the cache is whole`);
      throw error;
    }
  }

  #surveyOptions(): SurveyOptions {
    const { cache, pruner, store, io } = this.#around;
    return { cache, pruner, storeDir: store.storeDir, signal: io.signal };
  }

  /** @throws {HandpickError} `USAGE` if there is nobody to ask. */
  async #mayRemove(): Promise<boolean> {
    const { cache, options, io } = this.#around;
    if (options.yes === true) return true;
    if (options.json === true || io.stdin.isTTY !== true || io.stderr.isTTY !== true) {
      throw new HandpickError(
        "USAGE",
        `Cannot remove anything from cache ${quote(cache)} unasked`,
        {
          hint: "Look at what --dry-run shows, then give --yes.",
        },
      );
    }
    return await isAnsweredByYes(`Remove that from cache ${quote(cache)}? [y/N] `, io);
  }

  #printJson(needs: GatheredNeeds, preview: Preview, pruned?: Pruned): void {
    const { cache, io } = this.#around;
    const { decision, going, files, sizeBytes } = preview;
    const answer = {
      version: 1,
      cache,
      selections: needs.selections,
      notes: needs.notes,
      kept: {
        wanted: decision.wanted.size,
        others: decision.others.size,
        faulty: decision.faulty.map(({ file, fault }) => ({ name: file.name, fault })),
      },
      remove: going.map(({ entry, sizeBytes }) => ({
        name: entry.file.name,
        path: entry.label,
        sizeBytes,
      })),
      files: files.map(({ name }) => name),
      sizeBytes,
      ...(pruned === undefined
        ? {}
        : {
            removed: {
              entries: pruned.entries.map(({ file }) => file.name),
              files: pruned.files.map(({ name }) => name),
            },
            spared: labels(pruned.spared),
            broken: labels(pruned.broken),
          }),
    };
    io.stdout.write(`${JSON.stringify(answer)}\n`);
  }
}

/** @throws {HandpickError} `USAGE` unless the command line says what to keep, and who else writes. */
function keepDaysOf(options: PruneOptions): number {
  const { keepWanted, keepDays = DEFAULT_DAYS, manifests = [], thisIsTheOnlyWriter } = options;
  if (keepWanted !== true) {
    throw new HandpickError("USAGE", "Cannot prune without --keep-wanted", {
      hint: "Give --keep-wanted: what selections want is kept, and nothing else but what is young.",
    });
  }
  if (manifests.length === 0 && thisIsTheOnlyWriter !== true) {
    throw new HandpickError("USAGE", "Cannot prune without knowing what other machines want", {
      hint: "Name the manifests of all that push there with --manifests, or give --this-is-the-only-writer.",
    });
  }
  if (/^\d{1,5}$/.test(keepDays)) return Number(keepDays);
  throw new HandpickError(
    "USAGE",
    `Cannot take --keep-days ${quote(keepDays)}: expected a number`,
    {
      hint: "Give whole days, such as --keep-days 30.",
    },
  );
}

/** What belongs to nothing may be of an upload that takes a while. */
function cutoffsOf(nowMs: number, keepDays: number): Cutoffs {
  return { ownMs: nowMs - keepDays * DAY_MS, strayMs: nowMs - Math.max(keepDays, 1) * DAY_MS };
}

/** That of the user, and the system's, whose packages may be in the same cache. */
function stateFolders({ env, cwd, uid }: Io): StateFolder[] {
  const own = resolve(cwd, stateDirectory(env, uid));
  const isChosen = (env["HANDPICK_STATE_DIR"] ?? "") !== "";
  return [...new Set(isChosen ? [own] : [own, SYSTEM_STATE_DIRECTORY])].map(stateFolder);
}

function foundRefused(file = "handpick.toml"): HandpickError {
  const rule = "it was found and not named, and would say what to remove";
  return untrusted(`Cannot use configuration ${file}: ${rule}`, file);
}

/** @throws {HandpickError} `USAGE` */
function assertPrunable(cache: CacheConfig): void {
  if (kindOf(cache.url)?.noPruneHint !== undefined) throw unprunable(cache);
}

function unprunable({ name, url }: CacheConfig): HandpickError {
  return new HandpickError(
    "USAGE",
    `Cannot prune cache ${quote(name)}: only file:// and s3:// are`,
    {
      hint: kindOf(url)?.noPruneHint,
    },
  );
}

/** @throws {HandpickError} `CACHE_READ_ONLY` */
async function assertRemovable({ cache, config }: OpenedCache, signal: AbortSignal): Promise<void> {
  const { writable } = await cache.info(signal);
  if (writable !== false) return;
  const message = `Cannot remove anything from cache ${quote(config.name)}: we may only read it`;
  throw new HandpickError("CACHE_READ_ONLY", message, { hint: kindOf(config.url)?.readOnlyHint });
}

async function isAnsweredByYes(question: string, { stdin, stderr, signal }: Io): Promise<boolean> {
  // Not in raw mode, where Ctrl-C is a key.
  using lines = createInterface({ input: stdin, output: stderr, terminal: false });
  const closed = once(lines, "close", { signal }).then(() => "");
  const answer = await Promise.race([lines.question(question, { signal }), closed]);
  return /^y(?:es)?$/i.test(answer.trim());
}

function labels(entries: Pruned["entries"]): string[] {
  return entries.map(({ label }) => label);
}
