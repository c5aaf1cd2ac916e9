import { resolve } from "node:path";

import { EXIT, HandpickError } from "../error.ts";
import { quote } from "../nix/format-error.ts";
import { nearest } from "../nix/nearest.ts";
import { nameOf, type StorePath } from "../nix/store-path.ts";
import { packageNameOf } from "../nix/package-name.ts";
import { explain, type ExplainInput, type Explanation, pathsNamed } from "../plan/explain.ts";
import { reasonWithText } from "../plan/reason-text.ts";
import { writeText } from "../report/output.ts";
import { painter } from "../report/painter.ts";
import { whyLines } from "../report/why-lines.ts";
import type { Gathered } from "../run/gather.ts";
import { planAll } from "../run/push-all.ts";
import { exists, locate } from "../select/locate.ts";
import { defineCommand, type NamedCommand } from "./command.ts";
import { exitCodeAfter } from "./exit-code.ts";
import type { Io } from "./io.ts";
import { printError } from "./print-error.ts";
import { type GatheredRun, type PathOptions, withGathered } from "./prepare-run.ts";
import { errorsMember, printRejected, rejectedMember } from "./told-beside.ts";

interface WhyOptions extends PathOptions {
  readonly for?: readonly string[];
}

/** `handpick why`: which pick needs a path, and which rule decides. */
export function whyCommand(io: Io): NamedCommand {
  return defineCommand<WhyOptions>({
    usage: "why <path|name...>",
    summary: "Explain why a path goes to a cache, or why not",
    description:
      "Explain why a path goes to each cache, or why not: what decides, what the cache\n" +
      "and its upstreams say now, and the shortest way of references from each pick to\n" +
      "it. A name is that of a path (hello-2.12), of its package (hello) or of a pick.\n" +
      "Exit code 1 if nothing that is wanted needs it.",
    options: [
      [
        "--for <path>",
        "Look at this path and what it needs, and not at what is wanted; may be given more than once (default: all that is wanted)",
        "repeatable",
      ],
      [
        "-t, --to <cache>",
        "Cache name or URL; may be given more than once (default: each cache that it is for)",
        "repeatable",
      ],
      ["--store <store>", "Nix store to read (default: auto)"],
    ],
    examples: [
      ["handpick why openssl", "which pick needs it, and where it is"],
      ["handpick why ./result", "the same for a build"],
      ["handpick why glibc --for .#tool", "in a package that is not wanted yet"],
    ],
    action: async (words, options) => {
      const isWanted = options.for === undefined;
      const inputs = { ...options, ...(isWanted ? { wanted: true } : {}) };
      return withGathered({ args: options.for ?? [], options: inputs, io }, (run) =>
        why(words, run, { options, io }),
      );
    },
  });
}

interface Around {
  readonly options: WhyOptions;
  readonly io: Io;
}

/** What an answer is to tell besides. */
interface Wrong extends Pick<Gathered, "rejected"> {
  readonly errors: readonly unknown[];
}

async function why(
  words: readonly string[],
  { gathered, options: run }: GatheredRun,
  { options, io }: Around,
): Promise<number> {
  const { plan, failures } = await planAll(gathered, run);
  const input = { plan, picks: gathered.planned, infos: gathered.infos };
  const unknown: string[] = [];
  const paths = new Set<StorePath>();
  for (const word of words) {
    const meant = await pathOf(word, run, io);
    const found = pathsNamed(meant ?? word, input);
    if (found.length === 0) unknown.push(word);
    for (const path of found) paths.add(path);
  }
  const explanations = explain(paths, input);
  const unneeded = unknown.map((word) => noNeed(word, input));
  const { rejected } = gathered;
  const errors = [...failures, ...unneeded];
  for (const failure of errors) printError(failure, io);
  printRejected(rejected, io);
  if (options.json === true) printJson(explanations, { rejected, errors }, io);
  else print(explanations, io);
  // What is wrong with selections is no answer to the question, unlike a path of --for.
  const unselected = options.for === undefined ? 0 : rejected.length;
  return unneeded.length > 0 ? EXIT.somePathsFailed : exitCodeAfter(failures, unselected);
}

/** The store path that a word is or leads to; undefined for a name. */
async function pathOf(
  word: string,
  { store }: GatheredRun["options"],
  { cwd }: Io,
): Promise<StorePath | undefined> {
  const file = resolve(cwd, word);
  const isFile = word.includes("/") || (await exists(file));
  return isFile ? (await locate(word, file, store)).path : undefined;
}

function noNeed(word: string, { plan }: ExplainInput): HandpickError {
  const names = plan.paths.flatMap(({ path }) => [nameOf(path), packageNameOf(nameOf(path))]);
  const guess = nearest(word, new Set(names));
  return new HandpickError("NOT_A_STORE_PATH", `Nothing that is looked at needs ${quote(word)}`, {
    hint:
      guess === undefined
        ? "handpick plan --wanted --full lists all that is wanted; --for PATH looks at another path."
        : `Did you mean ${guess}?`,
  });
}

function print(explanations: readonly Explanation[], { stdout }: Io): void {
  const paint = painter(stdout);
  for (const explanation of explanations) {
    for (const line of whyLines(explanation, paint)) writeText(stdout, line);
  }
}

function printJson(
  explanations: readonly Explanation[],
  { rejected, errors }: Wrong,
  { stdout }: Io,
): void {
  const paths = explanations.map(({ path, decisions, ways }) => ({
    path,
    caches: decisions.map(({ cache, action, reason, narSize }) => ({
      cache,
      action,
      narSize,
      reason: reasonWithText(reason),
    })),
    picks: ways.map(({ pick, chain }) => ({ ...pick, chain })),
  }));
  const wrong = { ...rejectedMember(rejected), ...errorsMember(errors) };
  stdout.write(`${JSON.stringify({ version: 1, paths, ...wrong })}\n`);
}
