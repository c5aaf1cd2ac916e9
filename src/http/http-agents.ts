import type { Agent as HttpAgent } from "node:http";
import type { Duplex } from "node:stream";

import { readAuthorities } from "./certificate-files.ts";
import { loadHttp, loadHttps } from "./http-modules.ts";
import { chooseProxy, unusable } from "./proxy.ts";
import type { Proxy } from "./proxy.ts";
import { trackTunnels } from "./proxy-tunnels.ts";

/** How a request gets to its server. */
export interface Route {
  readonly agent: HttpAgent;
  readonly proxy: Proxy | undefined;
}

/** Connections kept open between requests; proxies and extra authorities come from `env`. */
export interface Agents {
  /** @throws {HandpickError} `CONFIG_INVALID` or `FILE_UNUSABLE` if `env` names what cannot be used. */
  routeTo(url: URL): Route;
  close(): void;
}

/**
 * Makes the pools of connections. {@link chooseProxy} tells the proxies. The certificates in
 * `NIX_SSL_CERT_FILE` and `SSL_CERT_FILE` are trusted besides those of Node.
 */
export function createAgents(env: NodeJS.ProcessEnv): Agents {
  const agents = new Map<string, HttpAgent>();
  const tunnels = new Set<Duplex>();
  // The environment is slow to read, and every request asks.
  const routes = new Map<string, Route>();
  const findRoute = (url: URL): Route => {
    const proxy = chooseProxy(url, env);
    const key = `${url.protocol} ${proxy?.url.href ?? ""}`;
    let agent = agents.get(key);
    if (agent === undefined) {
      agent = createAgent(url.protocol, proxy, env);
      if (proxy !== undefined && url.protocol === "https:") trackTunnels(agent, tunnels);
      agents.set(key, agent);
    }
    return { agent, proxy };
  };
  return {
    routeTo(url) {
      const key = url.protocol + url.host;
      const route = routes.get(key) ?? findRoute(url);
      routes.set(key, route);
      return route;
    },
    close() {
      for (const agent of agents.values()) agent.destroy();
      for (const socket of tunnels) socket.destroy();
    },
  };
}

function createAgent(
  protocol: string,
  proxy: Proxy | undefined,
  env: NodeJS.ProcessEnv,
): HttpAgent {
  const href = proxy?.url.href;
  try {
    if (protocol === "http:") {
      const proxyEnv = href === undefined ? {} : { proxyEnv: { http_proxy: href } };
      return new (loadHttp().Agent)({ keepAlive: true, ...proxyEnv });
    }
    const proxyEnv = href === undefined ? {} : { proxyEnv: { https_proxy: href } };
    return new (loadHttps().Agent)({ keepAlive: true, ...proxyEnv, ...readAuthorities(env) });
  } catch (error) {
    // Node quotes a proxy that it does not understand, with the password in it.
    if (proxy !== undefined && error instanceof URIError) {
      throw unusable(proxy.variable, "a password with a stray %");
    }
    throw error;
  }
}
