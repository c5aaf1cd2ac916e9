import { resolve } from "node:path";

import { chooseCache } from "../config/choose-cache.ts";
import type { CacheConfig } from "../config/config.ts";
import { loadConfig } from "../config/find-config.ts";
import { stateDirectory } from "../config/state-directory.ts";
import { HandpickError } from "../error.ts";
import { writeText } from "../report/output.ts";
import { differingLines, nixList, suggestionLines } from "../report/suggest-lines.ts";
import { idleCaches } from "../run/idle-caches.ts";
import { stateFolder } from "../state/state-folder.ts";
import { openStore } from "../store/open-store.ts";
import { suggest, type Suggestions } from "../suggest/suggest.ts";
import { type CommonOptions, defineCommand, type NamedCommand } from "./command.ts";
import { exitCodeAfter } from "./exit-code.ts";
import type { Io } from "./io.ts";
import { printError } from "./print-error.ts";
import { quietly, rarely } from "./prepare-run.ts";
import { errorsMember } from "./told-beside.ts";

interface SuggestCommandOptions extends CommonOptions {
  readonly nix?: boolean;
  readonly all?: boolean;
  readonly to?: readonly string[];
  readonly store?: string;
}

/** `handpick suggest`: what is worth picking. */
export function suggestCommand(io: Io): NamedCommand {
  return defineCommand<SuggestCommandOptions>({
    usage: "suggest",
    summary: "List packages that are worth picking; push nothing",
    description:
      "List what profiles, their generations, result links and recent builds have\n" +
      "that was built here, that no selection picks, and that neither a cache nor an\n" +
      "upstream serves: the time that it took to build, the size of what would be\n" +
      "pushed with it, when it was built, and what needs it. The most time for each\n" +
      "megabyte comes first. Caches learn hashes and nothing else; nothing is pushed.",
    options: [
      ["--nix", "Print a list for Nix code, such as packages = (default: lines of text)"],
      ["--all", "List builds of less than 5 s, too (default: they are counted)"],
      [
        "-t, --to <cache>",
        "Cache name or URL to ask; may be given more than once (default: each cache of the configuration)",
        "repeatable",
      ],
      ["--store <store>", "Nix store to read (default: auto)"],
    ],
    examples: [
      ["handpick suggest", "what would save the most time elsewhere"],
      ["handpick suggest --nix > picks.nix", "the same as a list to edit"],
      ["handpick suggest --to cachix://mycache", "before there is a configuration"],
    ],
    action: (_, options) => carryOut(options, io),
  });
}

async function carryOut(options: SuggestCommandOptions, io: Io): Promise<number> {
  if (options.nix === true && options.json === true) {
    throw new HandpickError("USAGE", "Cannot take --nix and --json together", {
      hint: "Leave out one of them.",
    });
  }
  const { env, cwd, uid, signal } = io;
  const note = quietly(options, io);
  const config = await loadConfig({ ...io, file: options.config, serves: "wanted", note });
  const configured = config.caches;
  const idle = await idleCaches(configured, { env, uid });
  const caches: readonly CacheConfig[] =
    options.to?.map((name) => chooseCache(config, name)) ??
    configured.filter(({ name }) => !idle.has(name));
  await using store = await openStore({ store: options.store, env, signal });
  const folder = stateFolder(resolve(cwd, stateDirectory(env, uid)));
  const now = Date.now();
  const found = await suggest({
    env,
    uid,
    signal,
    store,
    storeDir: store.storeDir,
    folder,
    caches,
    rules: config.rules,
    isAll: options.all === true,
    now,
    notify: rarely(note),
  });
  for (const failure of found.failures) printError(failure, io);
  for (const text of found.warnings) note(`warning: ${text}`);
  for (const text of differingLines(found.differing)) note(text);
  print(found, { ...options, now }, io);
  return exitCodeAfter(found.failures, 0);
}

interface PrintOptions extends SuggestCommandOptions {
  readonly now: number;
}

function print(found: Suggestions, options: PrintOptions, io: Io): void {
  const { suggestions, quick } = found;
  const { stdout } = io;
  if (options.json === true) return printJson(found, io);
  if (options.nix === true) stdout.write(nixList(suggestions));
  else for (const line of suggestionLines(suggestions, options.now)) writeText(stdout, line);
  const note = quietly(options, io);
  if (suggestions.length === 0) note("nothing that was built here is worth picking");
  if (quick > 0)
    note(`${quick} ${quick === 1 ? "build" : "builds"} of less than 5 s left out; see --all`);
  if (options.nix === true && suggestions.length > 0) {
    note("attributes have the names of packages as a rule, and not always: look at them");
  }
}

function printJson({ suggestions, differing, quick, failures }: Suggestions, { stdout }: Io): void {
  const answer = { version: 1, suggestions, differing, quick, ...errorsMember(failures) };
  stdout.write(`${JSON.stringify(answer)}\n`);
}
