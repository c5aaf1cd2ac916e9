import { join, normalize, resolve } from "node:path";

import { HandpickError } from "../error.ts";
import { quote, quoteUrl } from "../nix/format-error.ts";
import { DEFAULT_STORE_DIR } from "../nix/store-path.ts";
import type { StoreLayout } from "./layout.ts";

/** Which store to open, and by which ways. */
export interface StoreChoice {
  readonly layout: StoreLayout;
  /** `auto`: the daemon if one listens, else the database. */
  readonly way: "auto" | "daemon" | "database";
  /** Where the daemon listens; unused for `database`. */
  readonly socketPath: string;
}

const DEFAULT_STATE_DIR = "/nix/var/nix";
const DEFAULT_LOG_DIR = "/nix/var/log/nix";
const SOCKET = "daemon-socket/socket";

/**
 * Reads what Nix takes for `--store` and `NIX_REMOTE`, as far as it names a store of this machine:
 * `auto`, `daemon`, `local`, `unix://SOCKET`, a folder, and the parameters `root`, `store`, `state`,
 * `log` and `real`.
 *
 * @throws {HandpickError} `STORE_UNSUPPORTED` for other stores, `CONFIG_INVALID` for a folder that
 *   is not absolute.
 */
export function parseStoreUri(uri: string, env: NodeJS.ProcessEnv): StoreChoice {
  const [address = "", query = ""] = splitOnce(uri, "?");
  const parameters = parseParameters(query);
  if (address === "" || address === "auto" || address === "daemon") {
    const layout = layoutOf(parameters, env);
    const way = address === "daemon" ? "daemon" : "auto";
    return { layout, way, socketPath: defaultSocket(layout, env) };
  }
  if (address.startsWith("unix://")) {
    const layout = layoutOf(parameters, env);
    const path = address.slice("unix://".length);
    const socketPath = path === "" ? defaultSocket(layout, env) : absolute("socket", path);
    return { layout, way: "daemon", socketPath };
  }
  if (address === "local" || address.startsWith("local://")) {
    const root = address.slice("local://".length);
    if (root !== "") parameters.set("root", root);
  } else if (address.includes("/") && !address.includes("://")) {
    parameters.set("root", resolve(address));
  } else {
    throw unsupported(uri);
  }
  return { layout: layoutOf(parameters, env), way: "database", socketPath: "" };
}

/** Returns true if `socketPath` is the one that belongs to the layout's own database. */
export function isOwnSocket({ layout, socketPath }: StoreChoice): boolean {
  return socketPath === join(layout.stateDir, SOCKET);
}

function defaultSocket(layout: StoreLayout, env: NodeJS.ProcessEnv): string {
  const folder = env["LIX_DAEMON_SOCKET_DIR"];
  if (folder) return join(absolute("LIX_DAEMON_SOCKET_DIR", folder), "socket");
  const named = env["NIX_DAEMON_SOCKET_PATH"];
  if (named) return absolute("NIX_DAEMON_SOCKET_PATH", named);
  return join(layout.stateDir, SOCKET);
}

function layoutOf(parameters: ReadonlyMap<string, string>, env: NodeJS.ProcessEnv): StoreLayout {
  const parameter = (name: string): string | undefined => {
    const value = parameters.get(name);
    return value ? absolute(name, value) : undefined;
  };
  const variable = (name: string): string | undefined => {
    const value = env[name];
    return value ? absolute(name, value) : undefined;
  };
  const root = parameter("root");
  const storeDir =
    parameter("store") ?? variable("NIX_STORE_DIR") ?? variable("NIX_STORE") ?? DEFAULT_STORE_DIR;
  const usualRealStoreDir = root === undefined ? storeDir : join(root, "nix/store");
  const usualStateDir =
    root === undefined
      ? (variable("NIX_STATE_DIR") ?? DEFAULT_STATE_DIR)
      : join(root, "nix/var/nix");
  const usualLogDir =
    root === undefined
      ? (variable("NIX_LOG_DIR") ?? DEFAULT_LOG_DIR)
      : join(root, "nix/var/log/nix");
  return {
    storeDir,
    realStoreDir: parameter("real") ?? usualRealStoreDir,
    stateDir: parameter("state") ?? usualStateDir,
    logDir: parameter("log") ?? usualLogDir,
  };
}

function absolute(what: string, path: string): string {
  if (!path.startsWith("/") || path.includes("\0")) {
    throw new HandpickError(
      "CONFIG_INVALID",
      `Cannot open the Nix store: expected an absolute path for ${what}, found ${quote(path)}`,
      { hint: "Write it from the root, such as /srv/nix." },
    );
  }
  const clean = normalize(path);
  return clean.length > 1 && clean.endsWith("/") ? clean.slice(0, -1) : clean;
}

/** Parameters as Nix reads them, where unlike in forms a plus sign is a plus sign. */
function parseParameters(query: string): Map<string, string> {
  const parameters = new Map<string, string>();
  for (const pair of query.split("&")) {
    const [name = "", value = ""] = splitOnce(pair, "=");
    parameters.set(name, value.replace(/(?:%[0-9a-fA-F]{2})+/g, decodeBytes));
  }
  return parameters;
}

function decodeBytes(escapes: string): string {
  return Buffer.from(escapes.replaceAll("%", ""), "hex").toString();
}

function splitOnce(text: string, separator: string): string[] {
  const at = text.indexOf(separator);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

function unsupported(uri: string): HandpickError {
  return new HandpickError(
    "STORE_UNSUPPORTED",
    `Cannot open Nix store ${quoteUrl(uri)}: expected a store of this machine`,
    { hint: "Use auto, daemon, local, unix://SOCKET or the folder of a chroot store." },
  );
}
