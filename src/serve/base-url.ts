const HOST = /^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,253})|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?$/;
const LOOPBACK_OF_WILDCARD: ReadonlyMap<string, string> = new Map([
  ["", "127.0.0.1"],
  ["0.0.0.0", "127.0.0.1"],
  ["::", "::1"],
]);

/** Where a server listens. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
  /** The URL that others reach it by, through a proxy say, without trailing slash. */
  readonly publicUrl?: string | undefined;
}

/** The URL of the server for programs on this machine, without trailing slash. */
export function localUrl({ host, port }: ListenAddress): string {
  const name = LOOPBACK_OF_WILDCARD.get(host) ?? host;
  return `http://${name.includes(":") ? `[${name}]` : name}:${port}`;
}

/**
 * The URL by which the sender of a request reaches the server. A server that listens on one address
 * is reached there, or at the public URL it was given. One that listens on all of them is reached under the name that the client used,
 * if that looks like one: the answer goes to nobody but the client that said it.
 */
export function urlForClient(address: ListenAddress, hostHeader: string | undefined): string {
  if (address.publicUrl !== undefined) return address.publicUrl;
  const isWildcard = LOOPBACK_OF_WILDCARD.has(address.host);
  if (!isWildcard || hostHeader === undefined || !HOST.test(hostHeader)) return localUrl(address);
  return `http://${hostHeader}`;
}
