import type * as Http from "node:http";
import type * as Https from "node:https";

/**
 * Node's HTTP modules. An `import` of `node:http` costs 40 ms more: for it Node evaluates every
 * export, and among them are WebSocket and an HTTP client of its own.
 */
export const http: typeof Http = process.getBuiltinModule("node:http");

let https: typeof Https | undefined;

/** Loads TLS, when it is first needed. */
export function loadHttps(): typeof Https {
  return (https ??= process.getBuiltinModule("node:https"));
}
