import { quote } from "../nix/format-error.ts";
import { NIXOS_CACHE } from "../nix/nixos-cache.ts";
import { canonicalUrl } from "../cache/cache-url.ts";
import { KINDS, kindOf } from "../cache/kinds.ts";
import { type CacheConfig, type Config, parseConfig, type Rules } from "./config.ts";
import { placeFault, untrusted } from "./found-file.ts";

const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;

/**
 * Makes a configuration that was found in the working folder what it may be: caches, and rules besides
 * those of the user. Its folder may have come with somebody's checkout; docs/trust.md says what it may.
 *
 * @throws {HandpickError} `CONFIG_UNTRUSTED` if it names a variable, or a server, an upstream or a folder elsewhere.
 */
export async function asFound(config: Config, own: Config): Promise<Config> {
  const { file: foundFile = "handpick.toml" } = config;
  for (const cache of config.caches) await assertHarmless(cache, foundFile);
  return {
    ...config,
    isFound: true,
    trustedProjects: [],
    caches: config.caches.map((cache) => ({ ...cache, foundFile })),
    rules: stricterRules(own.rules, config.rules),
    builds: parseConfig("", foundFile, {}).builds,
  };
}

async function assertHarmless(cache: CacheConfig, file: string): Promise<void> {
  const { name, url, tokenEnv, upstreams = [] } = cache;
  const refuse = (found: string): never => {
    const rule = `it was found and not named, and its cache ${quote(name)} ${found}`;
    throw untrusted(`Cannot use configuration ${file}: ${rule}`, file);
  };
  if (tokenEnv !== undefined) refuse(`takes the variable ${tokenEnv} as a token`);
  const stranger = upstreams.find((url) => !isKnownUpstream(url));
  if (stranger !== undefined) refuse(`would tell names of packages to ${stranger}`);
  const server = kindOf(url)?.serverOf(url);
  if (server !== undefined) refuse(`would send packages to ${server}`);
  const fault = kindOf(url)?.foundFault?.(url);
  if (fault !== undefined) refuse(fault);
  const folder = kindOf(url)?.folderOf(url);
  const place = folder === undefined ? undefined : await placeFault(folder, file);
  if (place !== undefined) refuse(`would write to ${folder}${place}`);
}

function isKnownUpstream(text: string): boolean {
  const url = new URL(text);
  if (LOOPBACK.test(url.hostname)) return true;
  if (KINDS.some((kind) => kind.isOwnHost(url))) return true;
  return text.replace(/\/$/, "") === NIXOS_CACHE;
}

/** The server that a cache is opened at, and what is known of servers. */
export interface UsedHost {
  /** Wherever it was named; undefined for that of the service. */
  readonly host: string | undefined;
  /** The host that the user's own configuration of the kind's client names. */
  readonly usersHost: string | undefined;
}

/**
 * Decides about credentials that the cache's own settings do not bring: variables and the
 * user's own configuration of the kind's client. For a found file's sake they go to the service itself, and
 * where that configuration leads; never elsewhere, this machine included, where anybody may listen.
 */
export function mayHaveDefaults(
  { url, foundFile }: CacheConfig,
  { host, usersHost }: UsedHost,
): boolean {
  if (foundFile === undefined || host === undefined) return true;
  if (kindOf(url)?.isOwnHost(new URL(host)) === true) return true;
  return usersHost !== undefined && new URL(usersHost).href === new URL(host).href;
}

const ON_HOLE: readonly Rules["onHole"][] = ["push-anyway", "hold", "fail"];

/** Both rules at once. */
function stricterRules(a: Rules, b: Rules): Rules {
  const sizes = [a.maxNarSize, b.maxNarSize].filter((size) => size !== undefined);
  return {
    exclude: [...new Set([...a.exclude, ...b.exclude])],
    maxNarSize: sizes.length === 0 ? undefined : Math.min(...sizes),
    onHole: ON_HOLE[Math.max(ON_HOLE.indexOf(a.onHole), ON_HOLE.indexOf(b.onHole))] ?? "hold",
  };
}

/** Says which found file is used, and for which caches. */
export function foundNote({ file, caches }: Config, to: readonly string[] = []): string {
  const used = to.length === 0 ? caches : caches.filter((one) => to.some((t) => isCache(one, t)));
  const shown = used.map(({ name, url, host }) => `${name}, ${url}${host ? ` at ${host}` : ""}`);
  const purpose = shown.length === 0 ? "its rules" : shown.join("; ");
  return `using ${file}, found in this folder: ${purpose}`;
}

function isCache({ name, url }: CacheConfig, to: string): boolean {
  return name === to || url === canonicalUrl(to);
}
