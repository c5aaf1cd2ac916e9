import { createHash } from "node:crypto";

import type { Derivation } from "./derivation.ts";
import { FormatError, quote } from "./format-error.ts";
import type { StorePath } from "./store-path.ts";

/** Base16 of the hash that Nix knows each output by before it is built, by output name. */
export type OutputHashes = ReadonlyMap<string, string>;

/** The derivation as {@link parseDerivation} reads it from text of one character a byte. */
export interface HashedDerivation {
  readonly derivation: Derivation;
  /** The hashes of every derivation that it takes as input; not asked for if its output is fixed. */
  readonly inputs: ReadonlyMap<StorePath, OutputHashes>;
  /**
   * True if the derivation itself is the question, rather than an input of another one: then the paths
   * of its outputs do not count.
   */
  readonly isMasked: boolean;
}

/**
 * Computes the hashes of a derivation modulo those that its fixed outputs come from, as Nix does: in
 * the store they name what was built of content-addressed derivations.
 *
 * @throws {FormatError} If `inputs` lacks an output that the derivation takes.
 */
export function outputHashes({ derivation, inputs, isMasked }: HashedDerivation): OutputHashes {
  const { outputs } = derivation;
  if (hasFixedOutput(derivation)) {
    return new Map(
      Array.from(outputs, ([name, { path = "", hashAlgorithm, hash }]) => [
        name,
        sha256(`fixed:out:${hashAlgorithm}:${hash}:${path}`),
      ]),
    );
  }
  const hash = sha256(printed(derivation, inputs, isMasked));
  return new Map(Array.from(outputs.keys(), (name) => [name, hash]));
}

/** Returns true if the content of the output is known before the build, so that inputs do not matter. */
export function hasFixedOutput({ outputs }: Derivation): boolean {
  return outputs.values().some(({ hash }) => hash !== "" && hash !== "impure");
}

/** The derivation in ATerm form with the hashes of its inputs instead of their paths. */
function printed(
  derivation: Derivation,
  inputs: HashedDerivation["inputs"],
  isMasked: boolean,
): string {
  const { outputs, inputSrcs, system, builder, args, env } = derivation;
  const printedOutputs = Array.from(outputs, ([name, { path = "", hashAlgorithm, hash }]) =>
    tuple([name, isMasked ? "" : path, hashAlgorithm, hash].map(text)),
  );
  const printedInputs = [...namesByHash(derivation, inputs)]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([hash, names]) => tuple([text(hash), list([...names].toSorted().map(text))]));
  const printedEnv = Array.from(env, ([key, value]) =>
    tuple([key, isMasked && outputs.has(key) ? "" : value].map(text)),
  );
  const parts = [
    list(printedOutputs),
    list(printedInputs),
    list(inputSrcs.map(text)),
    text(system),
    text(builder),
    list(args.map(text)),
    list(printedEnv),
  ];
  return `Derive${tuple(parts)}`;
}

function namesByHash(
  { inputDrvs }: Derivation,
  inputs: HashedDerivation["inputs"],
): Map<string, Set<string>> {
  const names = new Map<string, Set<string>>();
  for (const [path, wanted] of inputDrvs) {
    for (const name of wanted) {
      const hash = inputs.get(path)?.get(name);
      if (hash === undefined) {
        throw new FormatError(
          "derivation",
          `It takes output ${quote(name)} of ${path}, which has none`,
        );
      }
      names.set(hash, (names.get(hash) ?? new Set()).add(name));
    }
  }
  return names;
}

const ESCAPES: Readonly<Record<string, string>> = { "\n": "n", "\r": "r", "\t": "t" };

function text(value: string): string {
  return `"${value.replace(/["\\\n\r\t]/g, (character) => `\\${ESCAPES[character] ?? character}`)}"`;
}

function list(items: readonly string[]): string {
  return `[${items.join(",")}]`;
}

function tuple(items: readonly string[]): string {
  return `(${items.join(",")})`;
}

function sha256(latin1: string): string {
  return createHash("sha256").update(latin1, "latin1").digest("hex");
}
