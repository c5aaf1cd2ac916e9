import { HandpickError } from "../error.ts";
import type { Config } from "./config.ts";

const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;
const CACHIX = /^(?:[a-z0-9-]+\.)?cachix\.org$/;

/**
 * Checks a `handpick.toml` that was found in the working directory and not named. Such a file may
 * have come with somebody's checkout: a host in it would be sent our token and our packages.
 *
 * @throws {HandpickError} `CONFIG_INVALID` for a cache at another host than Cachix or this machine.
 */
export function assertProjectHosts({ caches, file }: Config): void {
  for (const { name, host } of caches) {
    if (host === undefined || isHarmless(new URL(host))) continue;
    throw new HandpickError(
      "CONFIG_INVALID",
      `Cannot use ${file ?? "handpick.toml"} unasked: its cache "${name}" would send tokens and packages to ${host}`,
      { hint: "If that is what you want, name the file: --config handpick.toml." },
    );
  }
}

function isHarmless({ protocol, hostname }: URL): boolean {
  return LOOPBACK.test(hostname) || (protocol === "https:" && CACHIX.test(hostname));
}
