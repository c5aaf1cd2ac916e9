import { lstat } from "node:fs/promises";
import { join } from "node:path";
import { normalize } from "node:path/posix";

import { chooseCache } from "../config/choose-cache.ts";
import { loadConfig } from "../config/find-config.ts";
import { EXIT, HandpickError } from "../error.ts";
import { quote } from "../nix/format-error.ts";
import { isLabel } from "../nix/manifest.ts";
import type { StorePath } from "../nix/store-path.ts";
import { openStore } from "../store/open-store.ts";
import { assertWritable, openConfigured } from "../run/open-caches.ts";
import { withMissingToken } from "../run/with-missing-token.ts";
import { type CommonOptions, defineCommand, type NamedCommand } from "./command.ts";
import type { Io } from "./io.ts";
import { quietly } from "./prepare-run.ts";

interface PinOptions extends CommonOptions {
  readonly to?: readonly string[];
  readonly store?: string;
  readonly artifact?: string[];
  readonly keepDays?: string;
  readonly keepRevisions?: string;
  readonly keepForever?: boolean;
}

type Keep = { readonly days: number } | { readonly revisions: number } | "forever";

/** `handpick pin`: keep a pushed path from the cache's garbage collection. */
export function pinCommand(io: Io): NamedCommand {
  return defineCommand<PinOptions>({
    usage: "pin <name> <path>",
    summary: "Keep a pushed path in the cache under a name",
    description:
      "Keep a pushed path in the cache under a name, which only cachix:// caches do.\n" +
      "Pinning another path under the same name adds a revision.",
    options: [
      [
        "-t, --to <cache>",
        "Cache name, or URL such as cachix://NAME; may be given more than once " +
          "(default: the first in the config)",
        "repeatable",
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
  });
}

interface PinRun {
  readonly name: string;
  readonly path: string;
  readonly options: PinOptions;
  readonly io: Io;
}

async function pin({ name, path, options, io }: PinRun): Promise<number> {
  const { env, signal } = io;
  if (!isLabel(name)) {
    throw new HandpickError("USAGE", `Cannot name a pin ${quote(name)}`, {
      hint: "Use 1 to 255 printable characters.",
    });
  }
  const keep = parseKeep(options);
  const config = await loadConfig({
    ...io,
    file: options.config,
    serves: "arguments",
    to: options.to ?? [],
    note: quietly(options, io),
  });
  const to = options.to ?? [undefined];
  const chosen = new Set(to.map((one) => chooseCache(config, one)));
  await using store = await openStore({ store: options.store, env, signal });
  const storePath = await store.resolve(path);
  const place = { storePath, folder: store.physicalPath(storePath) };
  const artifacts = await artifactsOf(options.artifact ?? [], place);
  const request = { name, storePath, artifacts, ...(keep === undefined ? {} : { keep }) };
  for (const configured of chosen) {
    const opened = await openConfigured(configured, io);
    await using cache = opened.cache;
    const { pins } = cache;
    if (pins === undefined) {
      throw new HandpickError(
        "USAGE",
        `Cannot pin in cache "${cache.name}": this kind has no pins`,
        {
          hint: "What is pushed there stays until somebody removes it.",
        },
      );
    }
    await withMissingToken(opened, async () => {
      assertWritable(opened, await cache.info(signal), store.storeDir);
      await pins.set(request, signal);
    });
    if (options.json === true)
      io.stdout.write(`${JSON.stringify({ cache: cache.name, name, storePath })}\n`);
    else if (options.quiet !== true)
      io.stdout.write(`${cache.name}: pinned ${storePath} as ${name}\n`);
  }
  return EXIT.done;
}

interface PinnedPath {
  readonly storePath: StorePath;
  /** Where its files are. */
  readonly folder: string;
}

/**
 * Returns the files as the archive of the path has them, without `./` and `..`: the cache takes any name,
 * and those who follow the link would be the first to notice.
 *
 * @throws {HandpickError} `USAGE` for what is no file of the path.
 */
async function artifactsOf(
  artifacts: readonly string[],
  { storePath, folder }: PinnedPath,
): Promise<string[]> {
  const names: string[] = [];
  for (const artifact of artifacts) {
    const name = normalize(artifact);
    if (!(await isFileBelow(folder, name))) {
      const message = `Cannot offer ${quote(artifact)} for download: it is no file of ${storePath}`;
      throw new HandpickError("USAGE", message, {
        hint: "Name files from the top of the path, such as bin/tool.",
      });
    }
    names.push(name);
  }
  return names;
}

/** Follows no link: one may lead into another path, which is elsewhere in a chroot store. */
async function isFileBelow(folder: string, name: string): Promise<boolean> {
  const parts = name.split("/");
  if (parts.some((part) => ["", ".", ".."].includes(part))) return false;
  const places = parts.map((_, end) => join(folder, ...parts.slice(0, end + 1)));
  for (const [number, place] of places.entries()) {
    const found = await lstat(place).catch(() => undefined);
    const isLast = number === places.length - 1;
    if (found === undefined || found.isDirectory() === isLast) return false;
  }
  return true;
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
