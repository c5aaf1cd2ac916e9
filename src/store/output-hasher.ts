import type { Derivation } from "../nix/derivation.ts";
import { FormatError } from "../nix/format-error.ts";
import { hasFixedOutput, type OutputHashes, outputHashes } from "../nix/output-hashes.ts";
import type { StorePath } from "../nix/store-path.ts";
import { derivationUnusable, readDerivation } from "./derivation-outputs.ts";
import type { StoreLayout } from "./layout.ts";

/** Hashes derivations with all that they are built from, each file once. */
export class OutputHasher {
  readonly #layout: StoreLayout;
  /** As inputs of others. */
  readonly #inputs = new Map<StorePath, OutputHashes>();

  constructor(layout: StoreLayout) {
    this.#layout = layout;
  }

  /**
   * The hashes by which the store knows what was built of a derivation.
   *
   * @throws {HandpickError} As {@link readDerivation} does, for it or for one that it is built from.
   */
  async hashesOf(path: StorePath): Promise<OutputHashes> {
    const derivation = await readDerivation(this.#layout, path);
    for (const input of derivation.inputDrvs.keys()) await this.#hashInput(input);
    return this.#hash(path, derivation, true);
  }

  /** Goes down without recursion, since chains of derivations may be longer than the call stack. */
  async #hashInput(root: StorePath): Promise<void> {
    const open = new Map<StorePath, Derivation>();
    const stack = [root];
    for (let path = stack.at(-1); path !== undefined; path = stack.at(-1)) {
      const missing = this.#inputs.has(path) ? [] : await this.#open(path, open);
      if (missing.some((input) => open.has(input))) {
        const fault = new FormatError("derivation", "It is built from itself");
        throw derivationUnusable(path, fault);
      }
      stack.push(...missing);
      if (missing.length > 0) continue;
      stack.pop();
      const derivation = open.get(path);
      if (derivation !== undefined) this.#inputs.set(path, this.#hash(path, derivation, false));
      open.delete(path);
    }
  }

  /** Reads a derivation unless that was done; returns those that have to be hashed before it. */
  async #open(path: StorePath, open: Map<StorePath, Derivation>): Promise<StorePath[]> {
    const derivation = open.get(path) ?? (await readDerivation(this.#layout, path));
    open.set(path, derivation);
    if (hasFixedOutput(derivation)) return [];
    return [...derivation.inputDrvs.keys()].filter((input) => !this.#inputs.has(input));
  }

  #hash(path: StorePath, derivation: Derivation, isMasked: boolean): OutputHashes {
    try {
      return outputHashes({ derivation, inputs: this.#inputs, isMasked });
    } catch (error) {
      throw derivationUnusable(path, error);
    }
  }
}
