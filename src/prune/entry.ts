import { narInfoName } from "../cache/binary-cache.ts";
import type { CacheFile } from "../cache/pruner.ts";
import { FormatError, faultOf } from "../nix/format-error.ts";
import { parseNarInfo } from "../nix/narinfo.ts";
import { baseNameOf, fromBaseName, hashPartOf, parseHashPart } from "../nix/store-path.ts";

/**
 * A file by which readers find something in a cache: a narinfo, or a realisation. What cannot be read as its name
 * says has a fault, and still needs whatever its text names.
 */
export interface Entry {
  readonly file: CacheFile;
  /** The base name of its store path, for people; its own name where that is not known. */
  readonly label: string;
  /** Names of the entries that its readers need as well, in the cache or not. */
  readonly needs: readonly string[];
  /** The name of the entry that it goes with: that of a path, for a realisation. */
  readonly goesWith: string | undefined;
  /** URLs of NARs. */
  readonly urls: readonly string[];
  /** Base names of derivations that made it. */
  readonly derivers: readonly string[];
  /** Why it is not what its name says. */
  readonly fault: string | undefined;
}

const NARINFO_NAME = /^[0-9a-df-np-sv-z]{32}\.narinfo$/;
const REALISATION_NAME = /^realisations\/[^/]+\.doi$/;
const BASE_NAMES = /(?<![0-9a-z])([0-9a-df-np-sv-z]{32})-/g;

/** Returns true for the name of a file that is an entry. */
export function isEntryName(name: string): boolean {
  return NARINFO_NAME.test(name) || REALISATION_NAME.test(name);
}

/** Reads an entry; never throws. */
export function readEntry(file: CacheFile, text: string, storeDir: string): Entry {
  return NARINFO_NAME.test(file.name)
    ? readPathEntry(file, text, storeDir)
    : readRealisation(file, text);
}

/** Takes the same from a narinfo that is right as from one that another Nix may understand and we do not. */
function readPathEntry(file: CacheFile, text: string, storeDir: string): Entry {
  const own = file.name;
  const names = valuesOf("References", text).flatMap((value) => narInfosNamedIn(value));
  const entry = {
    file,
    needs: [...new Set(names)].filter((name) => name !== own),
    goesWith: undefined,
    urls: valuesOf("URL", text),
    derivers: valuesOf("Deriver", text),
  };
  try {
    const { storePath } = parseNarInfo(text, { storeDir });
    const label = baseNameOf(storePath);
    const isOwn = narInfoName(hashPartOf(storePath)) === own;
    return { ...entry, label, fault: isOwn ? undefined : `it is that of ${label}` };
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    return { ...entry, label: own, fault: faultOf(error) };
  }
}

function readRealisation(file: CacheFile, text: string): Entry {
  const entry = { file, urls: [], derivers: [] };
  try {
    const { outPath, dependentRealisations = {} } = JSON.parse(text) as RealisationText;
    const goesWith = narInfoName(hashPartOf(fromBaseName(String(outPath))));
    const needs = Object.entries(dependentRealisations).flatMap(([id, path]) => [
      `realisations/${id}.doi`,
      narInfoName(hashPartOf(fromBaseName(String(path)))),
    ]);
    return {
      ...entry,
      label: String(outPath),
      needs: [goesWith, ...needs],
      goesWith,
      fault: undefined,
    };
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof TypeError)) throw error;
    const needs = narInfosNamedIn(text);
    return {
      ...entry,
      label: file.name,
      needs,
      goesWith: undefined,
      fault: "it is no realisation",
    };
  }
}

interface RealisationText {
  readonly outPath: unknown;
  readonly dependentRealisations?: Readonly<Record<string, unknown>>;
}

function valuesOf(key: string, text: string): string[] {
  const lines = text.matchAll(new RegExp(`^${key}:[ \\t]*(\\S[^\\r\\n]*)`, "gm"));
  return Array.from(lines, ([, value = ""]) => value.trim());
}

function narInfosNamedIn(text: string): string[] {
  return Array.from(text.matchAll(BASE_NAMES), ([, hashPart = ""]) =>
    narInfoName(parseHashPart(hashPart)),
  );
}
