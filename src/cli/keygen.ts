import { mkdir, open } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";

import { chooseCache } from "../config/choose-cache.ts";

import { loadConfig, userConfigDir } from "../config/find-config.ts";
import { HandpickError } from "../error.ts";
import { generateSecretKey, printPublicKey, printSecretKey, publicKeyOf } from "../nix/key.ts";
import { openConfigured } from "../sync/open-caches.ts";
import type { CommandSpec, CommonOptions } from "./command.ts";
import { EXIT } from "./exit-code.ts";
import type { Io } from "./io.ts";

interface KeygenOptions extends CommonOptions {
  readonly out?: string;
  readonly register?: string;
}

/** A key name goes into `name:base64` lines and file names. */
const KEY_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/** `handpick keygen`: make a signing key. */
export function keygenCommand(io: Io): CommandSpec<KeygenOptions> {
  return {
    usage: "keygen <name>",
    summary: "Make a signing key",
    description:
      "Make a signing key: the secret goes into a file that only you can read, the\n" +
      "public key, which readers need, to stdout. Existing files are not replaced.",
    options: [
      ["-o, --out <file>", "Secret key file (default: <config folder>/keys/<name>.sec)"],
      ["--register <cache>", "Tell this cache that it is signed with the key (default: no)"],
    ],
    examples: [
      ["handpick keygen mycache.cachix.org-1", "make a key pair"],
      ["handpick keygen --register mine mycache-1", "and register it with the cache"],
    ],
    action: (args, options) => keygen(args[0] ?? "", options, io),
  };
}

async function keygen(name: string, options: KeygenOptions, io: Io): Promise<number> {
  if (!KEY_NAME.test(name)) {
    throw new HandpickError("USAGE", `Cannot name a key ${JSON.stringify(name.slice(0, 80))}`, {
      hint: "Use letters, digits, dots, dashes and underscores, such as mycache.cachix.org-1.",
    });
  }
  const file = resolve(
    io.cwd,
    options.out ?? join(userConfigDir(io.env), "handpick", "keys", `${name}.sec`),
  );
  const secret = generateSecretKey(name);
  const ours = printPublicKey(publicKeyOf(secret));
  // First the file, then the cache: a registered key whose secret is lost would lock readers out.
  await writeSecret(file, `${printSecretKey(secret, "nix")}\n`);
  const { register } = options;
  const publicKey =
    register === undefined ? ours : await registerKey(register, { publicKey: ours, options, io });
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

async function writeSecret(file: string, text: string): Promise<void> {
  try {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    await using handle = await open(file, "wx", 0o600);
    await handle.writeFile(text);
    await handle.sync();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const reason = code === "EEXIST" ? "the file exists" : (code ?? String(error));
    throw new HandpickError("FILE_UNUSABLE", `Cannot write the secret key to ${file}: ${reason}`, {
      cause: error,
      hint: "Give another file with --out.",
    });
  }
}

interface Registration {
  readonly publicKey: string;
  readonly options: KeygenOptions;
  readonly io: Io;
}

/** Registers a key and returns it under the name that the cache gave it: readers go by that. */
async function registerKey(to: string, { publicKey, options, io }: Registration): Promise<string> {
  const file = options.config === undefined ? {} : { file: options.config };
  const config = await loadConfig({ ...file, env: io.env, cwd: io.cwd, uid: io.uid });
  const opened = await openConfigured(chooseCache(config, to), io);
  await using cache = opened.cache;
  if (cache.registerKey === undefined) {
    throw new HandpickError("USAGE", `Cache "${cache.name}" does not take signing keys`);
  }
  await cache.registerKey(publicKey, io.signal);
  const { publicKeys } = await cache.info(io.signal);
  const bytes = publicKey.slice(publicKey.lastIndexOf(":"));
  return publicKeys.find((theirs) => theirs.endsWith(bytes)) ?? publicKey;
}
