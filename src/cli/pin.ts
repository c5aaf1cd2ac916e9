import { lstat } from "node:fs/promises";
import { join } from "node:path";

import { chooseCache } from "../config/choose-cache.ts";
import { loadConfig } from "../config/find-config.ts";
import { HandpickError } from "../error.ts";
import { quote } from "../nix/format-error.ts";
import { isLabel } from "../nix/manifest.ts";
import type { StorePath } from "../nix/store-path.ts";
import { openStore } from "../store/open-store.ts";
import { openConfigured } from "../sync/open-caches.ts";
import type { CommandSpec, CommonOptions } from "./command.ts";
import { EXIT } from "./exit-code.ts";
import type { Io } from "./io.ts";
import { quietly } from "./prepare-run.ts";

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
      [
        "--artifact <file...>",
        "Files of the path to offer for download; put it last (default: none)",
      ],
      ["--keep-days <n>", "Keep each revision this many days (default: the cache's choice)"],
      ["--keep-revisions <n>", "Keep this many revisions (default: the cache's choice)"],
      ["--keep-forever", "Keep every revision (default: the cache's choice)"],
      ["--store <store>", "Nix store to resolve links in (default: auto)"],
    ],
    examples: [
      ["handpick pin editor ./result", "keep a build"],
      ["handpick pin app ./result --keep-revisions 3", "and its two predecessors"],
      ["handpick pin app ./result --artifact bin/app", "and offer a file of it"],
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
  const config = await loadConfig({
    file: options.config,
    env,
    cwd,
    uid,
    serves: "arguments",
    to: options.to === undefined ? [] : [options.to],
    note: quietly(options, io),
  });
  const chosen = chooseCache(config, options.to);
  await using store = await openStore({ store: options.store, env, signal });
  const storePath = await store.resolve(path);
  const artifacts = options.artifact ?? [];
  await assertArtifacts(artifacts, { storePath, folder: store.physicalPath(storePath) });
  await using cache = (await openConfigured(chosen, io)).cache;
  if (cache.pin === undefined)
    throw new HandpickError("USAGE", `Cache "${cache.name}" has no pins`);
  await cache.pin({ name, storePath, artifacts, ...(keep === undefined ? {} : { keep }) }, signal);
  if (options.json === true)
    io.stdout.write(`${JSON.stringify({ cache: cache.name, name, storePath })}\n`);
  else if (options.quiet !== true)
    io.stdout.write(`${cache.name}: pinned ${storePath} as ${name}\n`);
  return EXIT.done;
}

interface PinnedPath {
  readonly storePath: StorePath;
  /** Where its files are. */
  readonly folder: string;
}

/** The cache takes any name, and those who follow the link would be the first to notice. */
async function assertArtifacts(
  artifacts: readonly string[],
  { storePath, folder }: PinnedPath,
): Promise<void> {
  for (const artifact of artifacts) {
    // A link may lead into another path, which is elsewhere in a chroot store.
    const isFile = await lstat(join(folder, artifact)).then(
      (found) => !found.isDirectory(),
      () => false,
    );
    if (isFile) continue;
    const message = `Cannot offer ${quote(artifact)} for download: it is no file of ${storePath}`;
    throw new HandpickError("USAGE", message, {
      hint: "Name files from the top of the path, such as bin/tool.",
    });
  }
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
