import { resolve } from "node:path";

import { cacheUrlFault } from "../cache/cache-url.ts";
import { kindOf } from "../cache/kinds.ts";
import { cacheNames, chooseCache } from "../config/choose-cache.ts";
import { withoutSecrets } from "../config/credentials.ts";
import { loadConfig } from "../config/find-config.ts";
import { HandpickError } from "../error.ts";
import { quote } from "../nix/format-error.ts";
import { parsePublicKey } from "../nix/key.ts";
import type { PlannedPick } from "../run/gather.ts";
import { evaluateInstallable } from "../select/installable.ts";
import { mayBeSelected } from "../select/locate.ts";
import { openStore } from "../store/open-store.ts";
import { defineCommand, type NamedCommand, type OptionSpec } from "./command.ts";
import type { Io } from "./io.ts";
import { PATH_OPTIONS, quietly, rarely, withGathered } from "./prepare-run.ts";
import { type Readied, Verification, type VerifyCommandOptions } from "./verification.ts";

const SHARED = new Set(["--stdin", "--store"]);
const isShared = ([flags]: OptionSpec): boolean =>
  flags.split(/[ ,]+/).some((word) => SHARED.has(word));

/** `handpick verify`: can a fresh machine get it all? */
export function verifyCommand(io: Io): NamedCommand {
  return defineCommand<VerifyCommandOptions>({
    usage: "verify [cache] [path...]",
    summary: "Check that a fresh machine can get packages from a cache",
    description:
      "Check that a fresh machine can get packages and all that they need, reading as\n" +
      "it would: from the address that readers have, with their keys, and from\n" +
      "upstreams. Without a path, all that is wanted on this machine is checked;\n" +
      "without a cache, each cache that it goes to. Exit code 1 if something is not\n" +
      "served.",
    options: [
      ["--deep", "Also download every NAR of the cache and prove it (default: look at its size)"],
      ["--sample <n>", "The same for <n> NARs of each cache, chosen by chance (default: 0)"],
      ["--realise", "Also have Nix fetch it all into an empty store of its own (default: off)"],
      ["--repair", "Push what is not served, and check again (default: send nothing)"],
      [
        "--flake <installable>",
        "A package to evaluate and look for, which need not be here; may be given more than once (default: none)",
        "repeatable",
      ],
      [
        "--public-key <key>",
        "A key that readers trust besides, name:base64; may be given more than once (default: those that the cache or its table names)",
        "repeatable",
      ],
      [
        "-t, --to <cache>",
        "Another cache to look at, by name or URL; may be given more than once (default: each that it goes to)",
        "repeatable",
      ],
      ...PATH_OPTIONS.filter(isShared),
    ],
    examples: [
      ["handpick verify", "all that is wanted, in every cache it goes to"],
      ["handpick verify mine ./result", "one build, in one cache"],
      ["handpick verify --deep mine", "and prove every NAR"],
      ["handpick verify mine --flake .#tool", "what would a fresh machine build?"],
      ["handpick verify --repair", "push again what is not served"],
    ],
    action: (args, options) => verify(args, options, io),
  });
}

async function verify(
  args: readonly string[],
  options: VerifyCommandOptions,
  io: Io,
): Promise<number> {
  const proofs = proofsOf(options);
  const publicKeys = options.publicKey ?? [];
  for (const key of publicKeys) assertKey(key);
  const [first, ...rest] = args;
  const cache = first !== undefined && (await namesCache(first, io.cwd)) ? first : undefined;
  const paths = cache === undefined ? args : rest;
  const to = [...(cache === undefined ? [] : [cache]), ...(options.to ?? [])];
  const around = { proofs, publicKeys, options, io };
  if (options.flake !== undefined) {
    assertFlakesAlone(paths, options);
    return await withFlakes({ installables: options.flake, to, options, io }, (readied) =>
      new Verification({ ...around, ...readied }).carryOut(),
    );
  }
  const isWanted = paths.length === 0 && options.stdin !== true;
  const common = { ...options, ...(isWanted ? { wanted: true, to: [] } : { to }) };
  return await withGathered({ args: paths, options: common, io }, async (run) => {
    const { config, gathered, options: open } = run;
    // All that is wanted goes where it goes: a name only says which of these caches to look at.
    const named = isWanted ? to.map((one) => chooseCache(config, one).name) : [];
    const caches = gathered.caches.filter(({ name }) => named.length === 0 || named.includes(name));
    if (caches.length === 0) throw nothingGoesThere(to);
    const readied = { caches, members: gathered, open };
    return await new Verification({
      ...around,
      ...readied,
      rejected: gathered.rejected,
      run,
    }).carryOut();
  });
}

interface Flakes {
  readonly installables: readonly string[];
  readonly to: readonly string[];
  readonly options: VerifyCommandOptions;
  readonly io: Io;
}

/** Evaluates installables, which need not be here, and looks for them in the caches. */
async function withFlakes(
  { installables, to, options, io }: Flakes,
  work: (readied: Readied) => Promise<number>,
): Promise<number> {
  const { env, cwd, uid, signal } = io;
  const note = quietly(options, io);
  const config = await loadConfig({ ...io, file: options.config, serves: "arguments", to, note });
  await using store = await openStore({ store: options.store, env, signal });
  const caches = cacheNames(to.length > 0 ? to : undefined, config).map((name) =>
    chooseCache(config, name),
  );
  const planned: PlannedPick[] = [];
  for (const name of installables) {
    const build = { storeDir: store.storeDir, cwd, env: withoutSecrets(env, config), signal };
    const paths = await evaluateInstallable(name, build);
    const names = caches.map((one) => one.name);
    planned.push({
      name,
      paths,
      members: new Set(paths),
      caches: names,
      closure: "runtime",
      exclude: [],
      pin: undefined,
    });
  }
  const open = { config, store, env, uid, signal, notify: rarely(note) };
  return await work({ caches, members: { planned, infos: new Map() }, open });
}

/** @throws {HandpickError} `USAGE` */
function assertFlakesAlone(
  paths: readonly string[],
  { repair, stdin }: VerifyCommandOptions,
): void {
  if (repair === true) {
    throw new HandpickError(
      "USAGE",
      "Cannot take --repair and --flake together: what is only evaluated may not be here",
      {
        hint: "Push it: handpick push INSTALLABLE builds it first.",
      },
    );
  }
  if (paths.length === 0 && stdin !== true) return;
  throw new HandpickError("USAGE", "Cannot take paths and --flake together", {
    hint: "Run handpick verify once for each.",
  });
}

/** @throws {HandpickError} `USAGE` */
function proofsOf({ deep, sample }: VerifyCommandOptions): number {
  if (sample === undefined) return deep === true ? Infinity : 0;
  if (/^\d{1,9}$/.test(sample)) return Number(sample);
  throw new HandpickError("USAGE", `Cannot take --sample ${quote(sample)}: expected a number`, {
    hint: "Give the number of NARs to download, such as --sample 20.",
  });
}

/** @throws {HandpickError} `KEY_INVALID` */
function assertKey(text: string): void {
  try {
    parsePublicKey(text);
  } catch (cause) {
    throw new HandpickError("KEY_INVALID", `Cannot take --public-key ${quote(text)}`, {
      cause,
      hint: "Give it as trusted-public-keys of nix.conf has it: name:base64.",
    });
  }
}

/** Returns true if the first word of a command line means a cache: it is a URL of one, or a name of nothing that may be selected. */
async function namesCache(word: string, cwd: string): Promise<boolean> {
  if (kindOf(word) !== undefined && cacheUrlFault(word) === undefined) return true;
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(word)) return false;
  return !(await mayBeSelected(resolve(cwd, word)));
}

function nothingGoesThere(to: readonly string[]): HandpickError {
  return new HandpickError(
    "USAGE",
    `Nothing that is wanted goes to ${to.map(quote).join(" or ")}`,
    {
      hint: "Name a path as well: handpick verify CACHE PATH; handpick status lists what is wanted.",
    },
  );
}
