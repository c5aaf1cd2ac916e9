const CREDENTIALS = "must not contain a user name or password";
const CACHE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const LONGEST_URL = 2048;
const URL_SHAPE = /^([a-z][a-z0-9+.-]*):\/\/([^/?#\s]*)([^\s]*)$/;
/** The pages of a cache at Cachix: where people see it, and where readers find it. */
const CACHIX_PAGE =
  /^https?:\/\/(?:app\.cachix\.org\/cache\/|(?!app\.)(?=[a-z0-9-]+\.cachix\.org(?:\/|$)))([a-z0-9-]{1,63})/;
// oxlint-disable-next-line no-control-regex -- finding them is the purpose
const CONTROL = /[\u0000-\u0020\u007f-\u009f]/;

/** Returns true if `text` may name a cache: it is part of file names, messages and URLs. */
export function isCacheName(text: string): boolean {
  return CACHE_NAME.test(text);
}

/** The rule that the URL of a cache breaks, to be said after "it"; undefined if none. */
export function cacheUrlFault(text: string): string | undefined {
  const fault = shapeFault(text, "cachix://mycache");
  if (fault !== undefined) return fault;
  const name = CACHIX_PAGE.exec(text)?.[1];
  return name && `must be cachix://${name}, the name of that cache at Cachix`;
}

/** The rule that the URL of a server breaks, to be said after "it"; undefined if none. */
export function serverUrlFault(text: string): string | undefined {
  const fault = shapeFault(text, "http://127.0.0.1:8080");
  if (fault !== undefined) return fault;
  if (!/^https?:/.test(text)) return "must start with http:// or https://";
  const url = URL.parse(text);
  if (url === null) return "is not a valid URL";
  // The standard finds them behind more slashes as well: http:///user:password@host.
  return url.username || url.password ? CREDENTIALS : undefined;
}

function shapeFault(text: string, example: string): string | undefined {
  if (text.length > LONGEST_URL) return `must have at most ${LONGEST_URL} characters`;
  const authority = URL_SHAPE.exec(text)?.[2];
  if (authority === undefined || CONTROL.test(text)) return `must be a URL such as ${example}`;
  return authority.includes("@") ? CREDENTIALS : undefined;
}

/** The name of the cache at the service for `cachix://NAME`, undefined for other URLs. */
export function cachixName(url: string): string | undefined {
  return /^cachix:\/\/([^/?#]+)\/?$/.exec(url)?.[1];
}

/** The one spelling of a cache's URL, which identifies it. */
export function canonicalUrl(url: string): string {
  const name = cachixName(url);
  return name === undefined ? url : `cachix://${name}`;
}
