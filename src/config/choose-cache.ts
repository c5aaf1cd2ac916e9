import { HandpickError } from "../error.ts";
import { bareUrl, quote } from "../nix/format-error.ts";
import { nearest } from "../nix/nearest.ts";
import { cacheUrlFault, canonicalUrl, guessCacheUrl } from "../cache/cache-url.ts";
import { kindOf, urlForms } from "../cache/kinds.ts";
import type { CacheConfig, Config } from "./config.ts";
import { namingHint } from "./found-file.ts";

/**
 * The cache a command talks to: the configured one named `to`, the one at the URL `to` (with its
 * configured settings, if it has any), or without `to` the first of the configuration.
 *
 * @throws {HandpickError} `CACHE_UNKNOWN` if there is none of that name, or none at all;
 *   `CACHE_URL_UNSUPPORTED` if `to` is not a proper URL.
 */
export function chooseCache(config: Config, to?: string): CacheConfig {
  const { caches } = config;
  if (to === undefined) return caches[0] ?? throwNoCache(config);
  const isUrl = to.includes("://");
  const configured = caches.find(({ name, url }) => name === to || url === canonicalUrl(to));
  if (configured !== undefined) return configured;
  if (isUrl) return cacheAt(to);
  throw unknown(to, config);
}

/**
 * The cache that a pick names: the same, but for a URL that only a table of the configuration may give.
 * A selection may come from anybody's code, and could name any folder.
 *
 * @throws {HandpickError} `CACHE_UNKNOWN` as well if the URL has no table and needs one.
 */
export function wantedCache(config: Config, name: string): CacheConfig {
  // A table for a URL with a fault would not help.
  if (!lacksTable(config, name) || cacheUrlFault(name) !== undefined)
    return chooseCache(config, name);
  const url = canonicalUrl(name);
  const message = `Cannot use cache ${quote(url)}, which a selection names: it is not in the configuration`;
  const file = config.file ?? "the configuration";
  throw new HandpickError("CACHE_UNKNOWN", message, {
    hint: [
      `If you want it there, add [caches.NAME] with url = ${JSON.stringify(url)} to ${file}.`,
      ...searchSentences(config),
    ].join(" "),
  });
}

/** Returns true for a URL that counts only with a table, and has none. */
export function lacksTable({ caches }: Config, name: string): boolean {
  if (kindOf(name)?.needsTable !== true) return false;
  return !caches.some(({ url }) => url === canonicalUrl(name));
}

function unknown(to: string, config: Config): HandpickError {
  const { caches, file } = config;
  const names = caches.map(({ name }) => name);
  const guessed = guessCacheUrl(to);
  const isMeant = ({ name, url }: CacheConfig): boolean =>
    guessed !== undefined && (url === guessed || guessed.endsWith(`://${name}`));
  const best = caches.find(isMeant)?.name ?? nearest(to, names);
  const url = guessed ?? urlForms();
  const choice =
    names.length === 0
      ? `Did you mean ${url}?`
      : `Name one of ${names.join(", ")} in ${file}, or a URL such as ${url}.`;
  const hint = best === undefined ? choice : `Did you mean ${quote(best)}?`;
  const message = `Cannot find cache ${quote(to)} in the configuration`;
  return new HandpickError("CACHE_UNKNOWN", message, {
    hint: [hint, ...searchSentences(config)].join(" "),
  });
}

/**
 * The caches that a pick is kept in: those it names, else all. One that is named both ways is one.
 *
 * @throws {HandpickError} `CACHE_UNKNOWN` if it names none and none is configured.
 */
export function cacheNames(named: readonly string[] | undefined, config: Config): string[] {
  if (named === undefined && config.caches.length === 0) return [chooseCache(config).name];
  const nameOf = (to: string): string => {
    const url = canonicalUrl(to);
    return config.caches.find((cache) => cache.name === to || cache.url === url)?.name ?? url;
  };
  return [...new Set(named?.map(nameOf) ?? config.caches.map(({ name }) => name))];
}

function throwNoCache(config: Config): never {
  // A sync in the background has no command line.
  const hint =
    config.search?.serves === "wanted"
      ? "Add [caches.NAME] to the configuration."
      : `Pass --to ${urlForms()}, or add [caches.NAME] to the configuration.`;
  throw new HandpickError("CACHE_UNKNOWN", "Cannot choose a cache: none is configured", {
    hint: [hint, ...searchSentences(config)].join(" "),
  });
}

/** Says where a configuration was looked for, and why that of the project was not taken. */
export function searchSentences({ file, search }: Config): string[] {
  if (search === undefined) return [];
  const { looked, skipped, serves } = search;
  const [project, ...own] = looked;
  const places = serves === "arguments" ? [`${project} (this folder only)`, ...own] : looked;
  const sentences = file === undefined ? [`No configuration is at ${places.join(" or ")}.`] : [];
  if (skipped !== undefined) {
    sentences.push(`${skipped} was found, not named, and does not serve what is wanted.`);
    sentences.push(`${namingHint(skipped)}.`);
  } else if (file === undefined && serves === "wanted") {
    sentences.push("The handpick.toml of a project does not serve what is wanted.");
  }
  return sentences;
}

function urlHint(text: string): string {
  const mayHaveToken = kindOf(text)?.token !== undefined || /^https?:/.test(text);
  const tokens = mayHaveToken ? "; tokens come from files or the environment" : "";
  return `Pass a URL such as ${urlForms()}${tokens}.`;
}

function cacheAt(text: string): CacheConfig {
  const fault = cacheUrlFault(text);
  if (fault !== undefined) {
    // The URL is left out: what is wrong with it may be the password in it.
    throw new HandpickError(
      "CACHE_URL_UNSUPPORTED",
      `Cannot use the URL of the cache: it ${fault}`,
      { hint: urlHint(text) },
    );
  }
  const url = canonicalUrl(text);
  return {
    name: bareUrl(url),
    url,
    host: undefined,
    tokenFile: undefined,
    tokenEnv: undefined,
    clientFile: undefined,
    signingKeyFile: undefined,
    sign: "all",
    upstreams: undefined,
    compression: undefined,
    compressionLevel: undefined,
    readUrl: undefined,
    publicKeys: undefined,
    isPublic: undefined,
    optional: false,
    companions: new Set(),
    foundFile: undefined,
  };
}
