import { AtermReader } from "./aterm-reader.ts";
import { FormatError, quote } from "./format-error.ts";
import { parseStorePath, type StorePath } from "./store-path.ts";

export interface DerivationOutput {
  /** Unknown before the build where the derivation is content-addressed or depends on one. */
  readonly path: StorePath | undefined;
  /** `sha256`, `r:sha256` and the like; empty if input-addressed. */
  readonly hashAlgorithm: string;
  /** Base16 if the output is fixed, `impure`, or else empty. */
  readonly hash: string;
}

/** A parsed `.drv` file. Maps are in the file's order. */
export interface Derivation {
  /** By output name. */
  readonly outputs: ReadonlyMap<string, DerivationOutput>;
  /** Derivations it needs, with the names of the outputs it needs of each. */
  readonly inputDrvs: ReadonlyMap<StorePath, readonly string[]>;
  readonly inputSrcs: readonly StorePath[];
  readonly system: string;
  readonly builder: string;
  readonly args: readonly string[];
  readonly env: ReadonlyMap<string, string>;
}

const LONGEST_INPUT = 64 * 2 ** 20;

/**
 * Reads a derivation in ATerm form. Bytes that are not UTF-8, which arguments and environment may
 * hold, become U+FFFD: derivations are read here and never written.
 *
 * @param name The name of the derivation in messages.
 * @default {"derivation"}
 * @throws {FormatError} If it is none, is longer than 64 MiB, or is a dynamic derivation.
 */
export function parseDerivation(
  input: Uint8Array | string,
  name: string = "derivation",
): Derivation {
  try {
    if (input.length > LONGEST_INPUT) throw new FormatError("derivation", "It exceeds 64 MiB");
    return readDerivation(new AtermReader(typeof input === "string" ? input : decode(input)));
  } catch (cause) {
    if (!(cause instanceof FormatError)) throw cause;
    const message = `Cannot read derivation ${quote(name)}: ${cause.message}`;
    throw new FormatError("derivation", message, { cause });
  }
}

function readDerivation(reader: AtermReader): Derivation {
  if (reader.startsWith("DrvWithVersion(")) {
    throw new FormatError("derivation", "Dynamic derivations are experimental and not supported");
  }
  reader.expect("Derive(");
  const outputs = new Map(reader.list(() => readOutput(reader)));
  reader.expect(",");
  const inputDrvs = new Map(reader.list(() => readInput(reader)));
  reader.expect(",");
  const inputSrcs = reader.list(() => readStorePath(reader));
  reader.expect(",");
  const system = reader.string();
  reader.expect(",");
  const builder = reader.string();
  reader.expect(",");
  const args = reader.list(() => reader.string());
  reader.expect(",");
  const env = new Map(reader.list(() => readPair(reader)));
  reader.expect(")");
  reader.end();
  return { outputs, inputDrvs, inputSrcs, system, builder, args, env };
}

function readOutput(reader: AtermReader): [string, DerivationOutput] {
  const [name = "", path = "", hashAlgorithm = "", hash = ""] = reader.strings(4);
  return [name, { path: path === "" ? undefined : anyStorePath(path), hashAlgorithm, hash }];
}

function readInput(reader: AtermReader): [StorePath, readonly string[]] {
  reader.expect("(");
  const path = readStorePath(reader);
  reader.expect(",");
  const outputs = reader.list(() => reader.string());
  reader.expect(")");
  return [path, outputs];
}

function readPair(reader: AtermReader): [string, string] {
  const [key = "", value = ""] = reader.strings(2);
  return [key, value];
}

function readStorePath(reader: AtermReader): StorePath {
  return anyStorePath(reader.string());
}

/** A store path in whichever store: a derivation does not say which store it is from. */
function anyStorePath(text: string): StorePath {
  return parseStorePath(text, text.slice(0, Math.max(0, text.lastIndexOf("/"))));
}

function decode(bytes: Uint8Array): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
}
