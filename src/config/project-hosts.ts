import { HandpickError } from "../error.ts";
import type { Config } from "./config.ts";

const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;
const KNOWN = /^(?:(?:[a-z0-9-]+\.)?cachix\.org|cache\.nixos\.org)$/;

/**
 * Checks a `handpick.toml` that was found in the working directory and not named. Such a file may
 * have come with somebody's checkout: a host in it would be sent our token and our packages, and an
 * upstream would learn their names and could keep them back.
 *
 * @throws {HandpickError} `CONFIG_INVALID` for a cache or an upstream at another host than Cachix,
 *   NixOS or this machine.
 */
export function assertProjectHosts({ caches, file = "handpick.toml" }: Config): void {
  const refuse = (what: string): never => {
    throw new HandpickError("CONFIG_INVALID", `Cannot use ${file} unasked: its cache ${what}`, {
      hint: "If that is what you want, name the file: --config handpick.toml.",
    });
  };
  for (const { name, host, upstreams = [] } of caches) {
    if (host !== undefined && !isHarmless(host)) {
      refuse(`"${name}" would send tokens and packages to ${host}`);
    }
    const stranger = upstreams.find((upstream) => !isHarmless(upstream));
    if (stranger !== undefined) refuse(`"${name}" would tell names of packages to ${stranger}`);
  }
}

function isHarmless(url: string): boolean {
  const { protocol, hostname } = new URL(url);
  return LOOPBACK.test(hostname) || (protocol === "https:" && KNOWN.test(hostname));
}
