import { isHashPart, type Json, record, show, texts } from "./cachix-checks.ts";

/** What an upload says of its path, in the spelling of the server. */
export interface Description {
  readonly cache: string;
  readonly store_path_hash: string;
  readonly store_path: string;
  readonly references: readonly string[];
  readonly deriver: string | null;
  readonly ca: string | null;
  readonly nar_hash: string;
  readonly nar_size: number;
}

/** A client that asks for more risks the limits of the server. */
const MOST_HASHES = 5_000;
const KEYS = "ca cache deriver nar_hash nar_size references sigs store_path store_path_hash system";
const BASE_NAME = /^[0-9a-df-np-sv-z]{32}-[^/]+$/;

/** Reads a question for missing paths, and says what is wrong with it. */
export function wrongInMissing(body: Buffer): {
  readonly cache: string;
  readonly hashes: readonly string[];
  readonly faults: readonly string[];
} {
  const question = record(JSON.parse(body.toString()));
  const hashes = texts(question["store_path_hashes"]);
  const faults = wrong({
    keys: Object.keys(question).toSorted().join(" ") === "cache store_path_hashes",
    hashes: hashes.every(isHashPart),
    duplicates: new Set(hashes).size === hashes.length,
    number: hashes.length <= MOST_HASHES,
  });
  return { cache: show(question["cache"]), hashes, faults };
}

/** Reads the description of a path, and names the values that are not in the one spelling to use. */
export function readDescription(text: string): {
  readonly description: Description;
  readonly faults: readonly string[];
} {
  const given: Json = record(JSON.parse(text));
  const references = texts(given["references"]);
  const sorted = [...new Set(references)].toSorted((a, b) => (a < b ? -1 : 1));
  const storePath = show(given["store_path"]);
  const optional = (key: string): string | null => (given[key] === null ? null : show(given[key]));
  const deriver = optional("deriver");
  const faults = wrong({
    keys: Object.keys(given).toSorted().join(" ") === KEYS,
    store_path: BASE_NAME.test(storePath.replace("/nix/store/", "")),
    store_path_hash: storePath.startsWith(`/nix/store/${show(given["store_path_hash"])}-`),
    references: references.every((name) => BASE_NAME.test(name)),
    "the order of references": references.join(" ") === sorted.join(" "),
    deriver: deriver === null || BASE_NAME.test(deriver),
    system: given["system"] === null,
    sigs: texts(given["sigs"]).length === 0,
    nar_hash: /^sha256:[0-9a-f]{64}$/.test(show(given["nar_hash"])),
    nar_size: Number.isSafeInteger(given["nar_size"]),
  });
  const description = {
    cache: show(given["cache"]),
    store_path_hash: show(given["store_path_hash"]),
    store_path: storePath,
    references,
    deriver,
    ca: optional("ca"),
    nar_hash: show(given["nar_hash"]),
    nar_size: Number(given["nar_size"]),
  };
  return { description, faults };
}

function wrong(isRight: Readonly<Record<string, boolean>>): string[] {
  return Object.entries(isRight).flatMap(([key, is]) => (is ? [] : [`${key} is wrong`]));
}
