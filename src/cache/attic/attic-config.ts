import { isAbsolute, join } from "node:path";

import * as v from "valibot";

import { HandpickError } from "../../error.ts";
import { userConfigDir } from "../../home-directory.ts";
import { quote } from "../../nix/format-error.ts";
import { Secret } from "../../secret.ts";
import { parseToml } from "../../toml.ts";
import type { ClientConfig, ClientFileOptions } from "../kind.ts";
import { serverUrlFault } from "../server-url.ts";
import { parseAtticUrl, serverUrl } from "./attic-url.ts";

const HINT = "Correct the file, or let attic write it again with attic login.";
const FILE_NAME = /^\/[^\p{Cc}]{1,4095}$/u;
/** A name that only the configuration of the client can explain. */
const PLAIN_NAME = /^(?!localhost$)[\w+-]+$/;

const textOf = v.pipe(v.string(), v.trim());
/** One `[servers.NAME]`; keys that later clients may add are their own. */
const ServerSchema = v.object({
  endpoint: v.pipe(
    textOf,
    v.check((endpoint) => serverUrlFault(endpoint) === undefined),
  ),
  token: v.optional(textOf, ""),
  "token-file": v.optional(textOf, ""),
});
const FileSchema = v.object({ servers: v.optional(v.record(v.string(), v.unknown()), {}) });

type Server = v.InferOutput<typeof ServerSchema>;

/** Returns the place where Attic's client keeps its configuration. */
export function atticConfigPath(env: NodeJS.ProcessEnv): string {
  return join(userConfigDir(env), "attic", "config.toml");
}

/**
 * Reads the `config.toml` of Attic's client for one cache: the endpoint of the server that its URL names,
 * and the token of a server whose endpoint has the origin that the cache is opened at. No other origin gets it.
 *
 * @throws {HandpickError} `CONFIG_INVALID` if it is no such file, or breaks a rule where the URL names that
 *   server. No message quotes a value.
 */
export function parseAtticConfig(
  text: string,
  { file, url, host }: Pick<ClientFileOptions, "file" | "url" | "host">,
): ClientConfig {
  const { server: named } = parseAtticUrl(url);
  const { servers, faulty } = readServers(text, file);
  if (faulty.includes(named)) {
    throw invalid(file, `servers.${named} needs an endpoint, a URL of http:// or https://`);
  }
  const warnings = faulty.map(
    (name) => `server ${quote(name)} of ${file} is ignored: it has no endpoint that is a URL`,
  );
  const alias = servers.get(named);
  if (alias === undefined && host === undefined && PLAIN_NAME.test(named)) {
    warnings.push(`${file} has no server ${quote(named)}, so that is taken for a host`);
  }
  const { origin } = new URL(host ?? alias?.endpoint ?? serverUrl(named));
  const candidates = alias === undefined ? [...servers.values()] : [alias, ...servers.values()];
  const entry = candidates.find(
    (each) =>
      new URL(each.endpoint).origin === origin && `${each.token}${each["token-file"]}` !== "",
  );
  const tokenFile = entry?.["token-file"] || undefined;
  if (entry?.token === "" && tokenFile !== undefined && !isTokenFile(tokenFile)) {
    throw invalid(file, "token-file of a server must be the full name of a file");
  }
  return {
    token: entry?.token ? new Secret(entry.token) : undefined,
    tokenFile,
    signingKey: undefined,
    host: alias?.endpoint,
    warnings,
  };
}

interface Servers {
  readonly servers: ReadonlyMap<string, Server>;
  /** Names of those that are none. */
  readonly faulty: readonly string[];
}

function readServers(text: string, file: string): Servers {
  const read = v.safeParse(FileSchema, parseToml(text, { about: file, hint: HINT }));
  if (!read.success) throw invalid(file, "servers must be a table of tables");
  const servers = new Map<string, Server>();
  const faulty: string[] = [];
  for (const [name, value] of Object.entries(read.output.servers)) {
    const server = v.safeParse(ServerSchema, value);
    if (server.success) servers.set(name, server.output);
    else faulty.push(name);
  }
  return { servers, faulty };
}

function isTokenFile(name: string): boolean {
  return isAbsolute(name) && FILE_NAME.test(name);
}

function invalid(file: string, rule: string): HandpickError {
  return new HandpickError("CONFIG_INVALID", `Cannot use ${file}: ${rule}`, { hint: HINT });
}
