import { readFileSync, statSync } from "node:fs";
import type { Agent as HttpAgent } from "node:http";
import type { Agent as HttpsAgent } from "node:https";

import { HandpickError } from "../error.ts";
import { http as httpModule, loadHttps } from "./http-modules.ts";

/** Connections kept open between requests; proxies and extra authorities come from `env`. */
export interface Agents {
  agentFor(url: URL): HttpAgent;
  close(): void;
}

/**
 * Makes the pools of connections. Proxies: `http_proxy`, `https_proxy`, `no_proxy`. The
 * certificates in `NIX_SSL_CERT_FILE` and `SSL_CERT_FILE` are trusted besides those of Node.
 */
export function createAgents(env: NodeJS.ProcessEnv): Agents {
  const options = { keepAlive: true, proxyEnv: env };
  let http: HttpAgent | undefined;
  let https: HttpsAgent | undefined;
  return {
    agentFor(url) {
      if (url.protocol === "http:")
        return (http ??= withProxy(() => new httpModule.Agent(options)));
      const extra = https === undefined ? extraAuthorities(env) : {};
      const { Agent } = loadHttps();
      return (https ??= withProxy(() => new Agent({ ...options, ...extra })));
    },
    close() {
      http?.destroy();
      https?.destroy();
    },
  };
}

/** Node quotes a proxy that it does not understand, with the password in it. */
function withProxy<T>(create: () => T): T {
  try {
    return create();
  } catch {
    throw new HandpickError(
      "CONFIG_INVALID",
      "Cannot use the proxy in http_proxy or https_proxy: expected a URL",
      { hint: "Write it like http://user:password@host:port, or unset the variable." },
    );
  }
}

/** A file of all authorities there are has about 0.2 MiB. */
const MOST_CERTIFICATE_BYTES = 16 << 20;

function extraAuthorities(env: NodeJS.ProcessEnv): { ca?: string[] } {
  const files = [env["NIX_SSL_CERT_FILE"], env["SSL_CERT_FILE"]];
  const extra = [...new Set(files)].flatMap((file) => (file ? readAuthorities(file) : []));
  if (extra.length === 0) return {};
  const { getCACertificates } = process.getBuiltinModule("node:tls");
  return { ca: [...getCACertificates("default"), ...extra] };
}

function readAuthorities(file: string): string[] {
  try {
    const found = statSync(file);
    if (!found.isFile() || found.size > MOST_CERTIFICATE_BYTES) {
      throw new Error("it is no file of at most 16 MiB");
    }
    return [readFileSync(file, "utf8")];
  } catch (error) {
    // Nix shells set the variable to "/no-cert-file.crt" on purpose; OpenSSL ignores that as well.
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw new HandpickError(
      "FILE_UNUSABLE",
      `Cannot read the certificates in ${JSON.stringify(file)}`,
      { cause: error, hint: "Correct NIX_SSL_CERT_FILE or SSL_CERT_FILE, or unset it." },
    );
  }
}
