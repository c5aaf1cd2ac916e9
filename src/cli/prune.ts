import { kindOf } from "../cache/kinds.ts";
import { chooseCache } from "../config/choose-cache.ts";
import type { CacheConfig } from "../config/config.ts";
import { loadConfig } from "../config/find-config.ts";
import { untrusted } from "../config/found-file.ts";
import { HandpickError } from "../error.ts";
import { quote } from "../nix/format-error.ts";
import { openConfigured, type OpenedCache } from "../run/open-caches.ts";
import { openStore } from "../store/open-store.ts";
import { defineCommand, type NamedCommand } from "./command.ts";
import type { Io } from "./io.ts";
import { quietly } from "./prepare-run.ts";
import { type PruneOptions, Pruning } from "./pruning.ts";

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
  const { env, signal } = io;
  const keepDays = keepDaysOf(options);
  const note = quietly(options, io);
  const config = await loadConfig({ ...io, file: options.config, serves: "arguments", to: [name] });
  if (config.isFound) throw foundRefused(config.file);
  const chosen = chooseCache(config, name);
  assertPrunable(chosen);
  await using store = await openStore({ store: options.store, env, signal });
  const opened = await openConfigured(chosen, { ...io, storeDir: store.storeDir, notify: note });
  await using _cache = opened.cache;
  const { pruner } = opened.cache;
  if (pruner === undefined) throw unprunable(chosen);
  if (options.dryRun !== true) await assertRemovable(opened, signal);
  return await new Pruning({ cache: chosen.name, pruner, store, keepDays, options, io }).run();
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
