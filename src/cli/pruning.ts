import { once } from "node:events";
import { resolve } from "node:path";
import { createInterface } from "node:readline/promises";

import type { CachePruner } from "../cache/pruner.ts";
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
import { stateFolder, type StateFolder } from "../state/state-folder.ts";
import type { Store } from "../store/store.ts";
import { chooseStatusLine } from "./choose-report.ts";
import type { CommonOptions } from "./command.ts";
import type { Io } from "./io.ts";
import { quietly } from "./prepare-run.ts";

/** Options of `handpick prune`. */
export interface PruneOptions extends CommonOptions {
  readonly keepWanted?: boolean;
  readonly keepDays?: string;
  readonly manifests?: readonly string[];
  readonly thisIsTheOnlyWriter?: boolean;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
  readonly store?: string;
}

const DAY_MS = 24 * 60 * 60_000;

export interface PruningOptions {
  readonly cache: string;
  readonly pruner: CachePruner;
  readonly store: Store;
  readonly keepDays: number;
  readonly options: PruneOptions;
  readonly io: Io;
}

/** One run of `handpick prune`: look, show what would go, ask, remove. */
export class Pruning {
  readonly #around: PruningOptions;

  constructor(around: PruningOptions) {
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
    using line = await chooseStatusLine(io, options);
    const onProgress = (done: number, all: number): void =>
      line.show(`${cache}: ${done} of ${all} narinfos read`);
    return await survey({ ...this.#surveyOptions(), onProgress });
  }

  /** What is wanted is read once more: the answer of the user may have taken hours. */
  async #remove(preview: Preview, inventory: Inventory, cutoffs: Cutoffs): Promise<Pruned> {
    const { cache, io, options } = this.#around;
    const needs = await this.#gatherNeeds();
    using line = await chooseStatusLine(io, options);
    const all = preview.going.length + preview.files.length;
    let done = 0;
    const onRemoved = (): void => {
      done++;
      line.show(`${cache}: ${done} of ${all} files removed`);
    };
    const doing = { ...this.#surveyOptions(), needs, cutoffs, onRemoved };
    try {
      return await carryOut(preview.decision, inventory, doing);
    } catch (error) {
      line[Symbol.dispose]();
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
