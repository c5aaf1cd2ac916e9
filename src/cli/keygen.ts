import { join, resolve } from "node:path";

import { kindOf } from "../cache/kinds.ts";
import { chooseCache } from "../config/choose-cache.ts";

import { userConfigDir } from "../home-directory.ts";
import { assertConfigFile, loadConfig } from "../config/find-config.ts";
import { EXIT, HandpickError } from "../error.ts";
import { printPublicKey, publicKeyOf } from "../nix/key.ts";
import { makeKeyFile, readKeyFile } from "../run/key-file.ts";
import { openConfigured } from "../run/open-caches.ts";
import { withMissingToken } from "../run/with-missing-token.ts";
import { type CommonOptions, defineCommand, type NamedCommand } from "./command.ts";
import type { Io } from "./io.ts";
import { quietly } from "./prepare-run.ts";

interface KeygenOptions extends CommonOptions {
  readonly out?: string;
  readonly register?: string;
}

/** A key name goes into `name:base64` lines and file names. */
const KEY_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/** `handpick keygen`: make a signing key. */
export function keygenCommand(io: Io): NamedCommand {
  return defineCommand<KeygenOptions>({
    usage: "keygen <name>",
    summary: "Make a signing key",
    description:
      "Make a signing key: the secret goes into a file that only you can read, the\n" +
      "public key, which readers need, to stdout. An existing file is never replaced;\n" +
      "with --register the key in it is registered.",
    options: [
      ["-o, --out <file>", "Secret key file (default: <config folder>/keys/<name>.sec)"],
      ["--register <cache>", "Tell this cachix:// cache that we sign with the key (default: no)"],
    ],
    examples: [
      ["handpick keygen mycache.cachix.org-1", "make a key pair"],
      ["handpick keygen --register mine mycache-1", "and register it with the cache"],
    ],
    action: (args, options) => keygen(args[0] ?? "", options, io),
  });
}

async function keygen(name: string, options: KeygenOptions, io: Io): Promise<number> {
  await assertConfigFile({ file: options.config, cwd: io.cwd });
  if (!KEY_NAME.test(name)) {
    throw new HandpickError("USAGE", `Cannot name a key ${JSON.stringify(name.slice(0, 80))}`, {
      hint: "Use letters, digits, dots, dashes and underscores, such as mycache.cachix.org-1.",
    });
  }
  const standard = join(userConfigDir(io.env), "handpick", "keys", `${name}.sec`);
  const file = resolve(io.cwd, options.out ?? standard);
  const publicKey =
    options.register === undefined
      ? printPublicKey(publicKeyOf(await makeKeyFile(file, name)))
      : await makeAndRegister(options.register, { file, name, options, io });
  if (options.json === true) {
    io.stdout.write(`${JSON.stringify({ name, publicKey, secretKeyFile: file })}\n`);
    return EXIT.done;
  }
  io.stdout.write(`${publicKey}\n`);
  if (options.quiet !== true) {
    io.stderr.write(`The secret key is in ${file}; to sign with it, set for the cache:\n`);
    io.stderr.write(`  signing-key-file = ${JSON.stringify(file)}\n`);
  }
  return EXIT.done;
}

interface Registration {
  readonly file: string;
  readonly name: string;
  readonly options: KeygenOptions;
  readonly io: Io;
}

/** Returns the public key under the name that the cache gave it: readers go by that. */
async function makeAndRegister(
  to: string,
  { file, name, options, io }: Registration,
): Promise<string> {
  // All that may be wrong with the cache shows before a file is written.
  const { env, cwd, uid } = io;
  const note = quietly(options, io);
  const named = { file: options.config, env, cwd, uid };
  const config = await loadConfig({ ...named, serves: "arguments", to: [to], note });
  const cacheConfig = chooseCache(config, to);
  const opened = await openConfigured(cacheConfig, io);
  await using cache = opened.cache;
  if (cache.registerKey === undefined) {
    const message = `Cannot register a key with cache "${cache.name}": this kind has no keys to register`;
    throw new HandpickError("USAGE", message, { hint: kindOf(cacheConfig.url)?.noKeysHint });
  }
  await withMissingToken(opened, () => cache.info(io.signal));
  // First the file, then the cache: a registered key whose secret is lost would lock readers out.
  const secret = (await readKeyFile(file, name)) ?? (await makeKeyFile(file, name));
  const ours = printPublicKey(publicKeyOf(secret));
  await cache.registerKey(ours, io.signal);
  const { publicKeys } = await cache.info(io.signal);
  const theirs = publicKeys?.find((key) => key.endsWith(ours.slice(ours.lastIndexOf(":")))) ?? ours;
  if (theirs !== ours && options.quiet !== true) {
    io.stderr.write(`Cache "${cache.name}" has a name of its own for the key:\n`);
  }
  return theirs;
}
