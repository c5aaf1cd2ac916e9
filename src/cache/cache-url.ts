import { KINDS, kindOf, urlExamples } from "./kinds.ts";
import { urlShapeFault } from "./server-url.ts";

const CACHE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** Returns true if `text` may name a cache: it is part of file names, messages and URLs. */
export function isCacheName(text: string): boolean {
  return CACHE_NAME.test(text);
}

/** The rule that the URL of a cache breaks, to be said after "it"; undefined if none. */
export function cacheUrlFault(text: string): string | undefined {
  const fault = textFault(text) ?? urlShapeFault(text, urlExamples());
  if (fault !== undefined) return fault;
  // The page of a cache at Cachix is the URL of a web server as well.
  const meant = guessCacheUrl(text);
  if (meant !== undefined) return `must be ${meant}, the URL of that cache`;
  return kindOf(text)?.urlFault(text);
}

/** The rule that a text breaks which some kind understands although it is no URL. */
function textFault(text: string): string | undefined {
  for (const kind of KINDS) {
    const { scheme } = kind;
    const start = text.slice(0, scheme.length + 3);
    const isLoud = start !== `${scheme}://` && start.toLowerCase() === `${scheme}://`;
    const fault = isLoud ? `must have ${scheme}:// in small letters` : kind.textFault(text);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

/** Returns the URL of the cache that somebody meant by a text which is no such URL; undefined if none. */
export function guessCacheUrl(text: string): string | undefined {
  for (const kind of KINDS) {
    const url = kind.guessUrl(text);
    if (url !== undefined) return url;
  }
  return undefined;
}

/** The one spelling of a cache's URL, which identifies it. One with a fault stays as it is. */
export function canonicalUrl(url: string): string {
  const kind = kindOf(url);
  return kind === undefined || kind.urlFault(url) !== undefined ? url : kind.canonicalUrl(url);
}
