import { HandpickError } from "../error.ts";
import { isLoopback } from "../loopback.ts";

/** The proxy that requests to some URL go through. */
export interface Proxy {
  readonly url: URL;
  /** The environment variable that names it. */
  readonly variable: string;
}

/** The port of a proxy that names none: that of curl, which Nix downloads with. */
const DEFAULT_PORTS: Readonly<Record<string, string>> = { "http:": "1080", "https:": "443" };

/**
 * Chooses a proxy as curl does, from `http_proxy` or `https_proxy`, else `all_proxy`, unless
 * `no_proxy` has the host. All but `http_proxy` may be in capitals: of a CGI program, the client
 * chooses `HTTP_PROXY`. A proxy never learns what is asked of this machine.
 *
 * @throws {HandpickError} `CONFIG_INVALID` if the variable holds no proxy that can be used.
 */
export function chooseProxy(
  { protocol, hostname }: URL,
  env: NodeJS.ProcessEnv,
): Proxy | undefined {
  const names = protocol === "http:" ? ["http_proxy"] : ["https_proxy", "HTTPS_PROXY"];
  const variable = [...names, "all_proxy", "ALL_PROXY"].find((name) => env[name]);
  const value = variable === undefined ? undefined : env[variable];
  if (variable === undefined || value === undefined || isThisMachine(hostname)) return undefined;
  const exceptions = env["no_proxy"] || env["NO_PROXY"] || "";
  if (isException(hostname, exceptions)) return undefined;
  return { url: parseProxy(value.trim(), variable), variable };
}

/** Tells so for the addresses that lead to all of this machine's, too. */
function isThisMachine(hostname: string): boolean {
  return isLoopback(hostname) || hostname === "0.0.0.0" || hostname === "[::]";
}

/** Reads `host:port`, or a URL of http or https. Messages show nothing of it: it may hold a password. */
function parseProxy(value: string, variable: string): URL {
  const text = /^[a-z][a-z0-9+.-]*:\/\//i.test(value) ? value : `http://${value}`;
  const url = URL.parse(text);
  const port = DEFAULT_PORTS[url?.protocol ?? ""];
  if (url === null || url.hostname === "" || port === undefined) {
    const scheme = /^([a-z][a-z0-9+.-]{0,15}:\/\/)/i.exec(text)?.[1];
    const isForeign = url !== null && port === undefined && scheme !== undefined;
    throw unusable(variable, isForeign ? scheme : "something else");
  }
  if (!/^[^/?#]*:\d+(?:[/?#]|$)/.test(text.slice(text.indexOf("//") + 2))) url.port = port;
  return url;
}

/** The error for a proxy that cannot be used. */
export function unusable(variable: string, found: string): HandpickError {
  return new HandpickError(
    "CONFIG_INVALID",
    `Cannot use the proxy in ${variable}: expected http://HOST:PORT or https://HOST:PORT, found ${found}`,
    { hint: `Write it like http://user:password@host:port, or unset ${variable}.` },
  );
}

/** Tells whether `no_proxy` exempts a host: `*`, domains with all below them, addresses, CIDR. */
function isException(hostname: string, list: string): boolean {
  if (list.trim() === "*") return true;
  const entries = list.split(/[\s,]+/).filter((entry) => entry !== "");
  if (entries.length === 0) return false;
  const bare = hostname.replace(/^\[|\]$/g, "");
  const { isIP } = process.getBuiltinModule("node:net");
  return isIP(bare) === 0
    ? entries.some((entry) => isBelow(bare, entry))
    : entries.some((entry) => isInNetwork(bare, entry.replaceAll(/[[\]]/g, "")));
}

function isBelow(hostname: string, entry: string): boolean {
  const [name, domain] = [`.${hostname}`, `.${entry.replace(/^\./, "")}`].map((text) =>
    text.replace(/\.$/, "").toLowerCase(),
  );
  return domain !== undefined && domain !== "" && name?.endsWith(domain) === true;
}

function isInNetwork(address: string, entry: string): boolean {
  const { BlockList, isIP, isIPv6 } = process.getBuiltinModule("node:net");
  const [network = "", bits = ""] = entry.split("/", 2);
  const [kind, most] = isIPv6(address) ? (["ipv6", 128] as const) : (["ipv4", 32] as const);
  if (isIP(network) !== isIP(address)) return false;
  const prefix = entry.includes("/") ? bits : String(most);
  if (!/^\d{1,3}$/.test(prefix) || Number(prefix) > most) return false;
  const listed = new BlockList();
  listed.addSubnet(network, Number(prefix), kind);
  return listed.check(address, kind);
}
