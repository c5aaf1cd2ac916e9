import { chooseCache } from "../config/choose-cache.ts";
import { loadConfig } from "../config/find-config.ts";
import { HandpickError } from "../error.ts";
import { quote } from "../nix/format-error.ts";
import { isLabel } from "../nix/manifest.ts";
import { openStore } from "../store/open-store.ts";
import { openConfigured } from "../sync/open-caches.ts";
import type { CommandSpec, CommonOptions } from "./command.ts";
import { EXIT } from "./exit-code.ts";
import type { Io } from "./io.ts";

interface PinOptions extends CommonOptions {
  readonly to?: string;
  readonly store?: string;
  readonly artifact?: string[];
  readonly keepDays?: string;
  readonly keepRevisions?: string;
  readonly keepForever?: boolean;
}

type Keep = { readonly days: number } | { readonly revisions: number } | "forever";

/** `handpick pin`: keep a pushed path from the cache's garbage collection. */
export function pinCommand(io: Io): CommandSpec<PinOptions> {
  return {
    usage: "pin <name> <path>",
    summary: "Keep a pushed path in the cache under a name",
    description:
      "Keep a pushed path in the cache under a name. Pinning another path under the\n" +
      "same name adds a revision.",
    options: [
      [
        "-t, --to <cache>",
        "Cache name, or URL such as cachix://NAME (default: the first in the config)",
      ],
      ["--artifact <file...>", "Files of the path to offer for download (default: none)"],
      ["--keep-days <n>", "Keep each revision this many days (default: the cache's choice)"],
      ["--keep-revisions <n>", "Keep this many revisions (default: the cache's choice)"],
      ["--keep-forever", "Keep every revision (default: the cache's choice)"],
      ["--store <store>", "Nix store to resolve links in (default: auto)"],
    ],
    examples: [
      ["handpick pin editor ./result", "keep a build"],
      ["handpick pin app ./result --keep-revisions 3", "and its two predecessors"],
    ],
    action: ([name = "", path = ""], options) => pin({ name, path, options, io }),
  };
}

interface PinRun {
  readonly name: string;
  readonly path: string;
  readonly options: PinOptions;
  readonly io: Io;
}

async function pin({ name, path, options, io }: PinRun): Promise<number> {
  const { env, cwd, uid, signal } = io;
  if (!isLabel(name)) {
    throw new HandpickError("USAGE", `Cannot name a pin ${quote(name)}`, {
      hint: "Use 1 to 255 printable characters.",
    });
  }
  const keep = parseKeep(options);
  const config = await loadConfig({ file: options.config, env, cwd, uid });
  const chosen = chooseCache(config, options.to);
  await using store = await openStore({ store: options.store, env, signal });
  const storePath = await store.resolve(path);
  await using cache = (await openConfigured(chosen, io)).cache;
  if (cache.pin === undefined)
    throw new HandpickError("USAGE", `Cache "${cache.name}" has no pins`);
  const artifacts = options.artifact ?? [];
  await cache.pin({ name, storePath, artifacts, ...(keep === undefined ? {} : { keep }) }, signal);
  if (options.json === true)
    io.stdout.write(`${JSON.stringify({ cache: cache.name, name, storePath })}\n`);
  else if (options.quiet !== true)
    io.stdout.write(`${cache.name}: pinned ${storePath} as ${name}\n`);
  return EXIT.done;
}

function parseKeep({ keepDays, keepRevisions, keepForever }: PinOptions): Keep | undefined {
  const chosen: Keep[] = [];
  if (keepDays !== undefined) chosen.push({ days: parseCount("--keep-days", keepDays) });
  if (keepRevisions !== undefined)
    chosen.push({ revisions: parseCount("--keep-revisions", keepRevisions) });
  if (keepForever === true) chosen.push("forever");
  if (chosen.length > 1) {
    throw new HandpickError(
      "USAGE",
      "--keep-days, --keep-revisions and --keep-forever exclude each other",
    );
  }
  return chosen[0];
}

function parseCount(option: string, text: string): number {
  if (/^[1-9]\d{0,5}$/.test(text)) return Number(text);
  throw new HandpickError(
    "USAGE",
    `${option} takes a whole number from 1 to 999999, not ${JSON.stringify(text.slice(0, 40))}`,
  );
}
