import { baseNameOf, type StorePath } from "./store-path.ts";

/** The store path that a build gave to one output of a content-addressed derivation. */
export interface Realisation {
  readonly id: RealisationId;
  readonly path: StorePath;
  /** `name:base64` each; not verified. */
  readonly signatures: readonly string[];
  /** The realisations that this one was built with and refers to. */
  readonly dependencies: ReadonlyMap<RealisationId, StorePath>;
}

declare const realisationIdBrand: unique symbol;

/** An output by the hash of its derivation: `sha256:<64 hex>!out`. */
export type RealisationId = string & { readonly [realisationIdBrand]: true };

const ID = /^sha256:[0-9a-f]{64}![0-9A-Za-z+._?=-]{1,211}$/;

/** Returns true for text that is the id of a realisation, which is part of the name of a file. */
export function isRealisationId(text: string): text is RealisationId {
  return ID.test(text);
}

/** The JSON of a realisation, as caches have it. */
export function printRealisation(realisation: Realisation): string {
  const { signatures } = realisation;
  return JSON.stringify({ ...fields(realisation, realisation.dependencies), signatures });
}

/**
 * The texts that are signed: with its dependencies for Nix up to 2.26, and without for Nix 2.34, which
 * knows none. They are one where there are none.
 */
export function realisationFingerprints(realisation: Realisation): readonly string[] {
  const forms = [realisation.dependencies, NONE].map((dependencies) =>
    JSON.stringify(fields(realisation, dependencies)),
  );
  return [...new Set(forms)];
}

const NONE: Realisation["dependencies"] = new Map();

/** Keys are in the order of their bytes, as Nix writes them. */
function fields(
  { id, path }: Realisation,
  dependencies: Realisation["dependencies"],
): Readonly<Record<string, unknown>> {
  const sorted = [...dependencies].toSorted(([a], [b]) => (a < b ? -1 : 1));
  return {
    dependentRealisations: Object.fromEntries(sorted.map(([id, path]) => [id, baseNameOf(path)])),
    id,
    outPath: baseNameOf(path),
  };
}
