import { HandpickError } from "../error.ts";
import { excerpt } from "./excerpt.ts";
import { endpointOf } from "./http-message.ts";
import type { HttpRequest } from "./http-message.ts";

const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "the connection was refused",
  ECONNRESET: "the connection was cut",
  EPIPE: "the connection was cut",
  ETIMEDOUT: "the connection timed out",
  EHOSTUNREACH: "the host cannot be reached",
  ENETUNREACH: "the network cannot be reached",
  ENOTFOUND: "the host name does not resolve",
  EAI_AGAIN: "the host name does not resolve at present",
};

/** The names under which OpenSSL and Node report a certificate that is not trusted. */
const CERTIFICATE = /CERT|UNABLE_TO_|SELF_SIGNED|ISSUER/;

/** Tells of a request without an answer. Shows host and port only, as URLs may be secrets. */
export function networkError(request: HttpRequest, cause: unknown): HandpickError {
  const code = codeOf(cause);
  const what = WORDS[code] ?? excerpt(cause instanceof Error ? cause.message : String(cause));
  return new HandpickError(
    "NETWORK",
    `Cannot ${request.action}: expected an answer from ${endpointOf(request.url)}, but ${what}${addressOf(cause)}`,
    {
      cause,
      hint: CERTIFICATE.test(code)
        ? "Set NIX_SSL_CERT_FILE to a file that holds the authority of this certificate."
        : "Check the network, the proxy variables and the host of this cache.",
    },
  );
}

/** Whether a failed request may be repeated with hope: the network failed, not its trust. */
export function isTransient(error: unknown): boolean {
  return (
    error instanceof HandpickError &&
    error.code === "NETWORK" &&
    !CERTIFICATE.test(codeOf(error.cause))
  );
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string"
    ? error.code
    : "";
}

/** Where we really went: that of a proxy, say. */
function addressOf(error: unknown): string {
  if (!(error instanceof Error && "address" in error && "port" in error)) return "";
  return ` (${String(error.address)}:${String(error.port)})`;
}
