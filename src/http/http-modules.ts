import type * as Http from "node:http";
import type * as Https from "node:https";

let http: typeof Http | undefined;
let https: typeof Https | undefined;

/**
 * Loads Node's HTTP module when it is first needed. An `import` costs 40 ms more: for it Node
 * evaluates every export, and among them are WebSocket and an HTTP client of its own.
 */
export function loadHttp(): typeof Http {
  return (http ??= process.getBuiltinModule("node:http"));
}

/** Loads TLS, when it is first needed. */
export function loadHttps(): typeof Https {
  return (https ??= process.getBuiltinModule("node:https"));
}
