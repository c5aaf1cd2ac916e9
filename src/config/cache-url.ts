const CACHE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const URL_SHAPE = /^([a-z][a-z0-9+.-]*):\/\/([^/?#\s]*)([^\s]*)$/;
// oxlint-disable-next-line no-control-regex -- finding them is the purpose
const CONTROL = /[\u0000-\u0020\u007f-\u009f]/;

/** Whether `text` may name a cache: it is part of file names, messages and URLs. */
export function isCacheName(text: string): boolean {
  return CACHE_NAME.test(text);
}

/** The rule that the URL of a cache or server breaks, to be said after "it"; undefined if none. */
export function urlFault(text: string, schemes?: readonly string[]): string | undefined {
  const [, scheme, authority] = URL_SHAPE.exec(text) ?? [];
  if (scheme === undefined || authority === undefined || CONTROL.test(text)) {
    return "must be a URL such as cachix://mycache";
  }
  if (authority.includes("@")) return "must not contain a user name or password";
  if (schemes === undefined) return undefined;
  if (!schemes.includes(scheme)) return `must start with ${schemes.join(":// or ")}://`;
  return URL.canParse(text) ? undefined : "is not a valid URL";
}

/** The name of the cache at the service for `cachix://NAME`, undefined for other URLs. */
export function cachixName(url: string): string | undefined {
  return /^cachix:\/\/([^/?#]+)\/?$/.exec(url)?.[1];
}

/** A name for a cache that is known by its URL only. */
export function nameFromUrl(url: string): string {
  const [, scheme = "", authority = ""] = URL_SHAPE.exec(url) ?? [];
  return isCacheName(authority) ? authority : scheme;
}
