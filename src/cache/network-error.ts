import { HandpickError } from "../error.ts";
import { isOutOfFiles, OPEN_FILES_HINT } from "../open-files.ts";
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
  EMFILE: "this process may open no more files",
  ENFILE: "this machine may open no more files",
  HPE_HEADER_OVERFLOW: "its headers are too long",
};

/** OpenSSL's words for bytes that are no TLS record, such as a page of HTTP. */
const PLAIN = /wrong version number|packet length too long/;

/** The names under which OpenSSL and Node report a certificate that is not trusted. */
const CERTIFICATE = /CERT|UNABLE_TO_|SELF_SIGNED|ISSUER/;

/** The names of Node's parser for bytes that are no answer of HTTP. */
const NO_HTTP = /^HPE_INVALID/;

/** Tells of a request without an answer. Shows host and port only, as URLs may be secrets. */
export function networkError(request: HttpRequest, cause: unknown): HandpickError {
  return new HandpickError(
    "NETWORK",
    `Cannot ${request.action}: expected an answer from ${endpointOf(request.url)}, but ${whatHappened(cause)}${addressOf(cause)}`,
    {
      cause,
      hint: hintFor(cause),
    },
  );
}

function whatHappened(cause: unknown): string {
  const code = codeOf(cause);
  if (isPlain(cause)) return "the server does not speak TLS there";
  if (NO_HTTP.test(code)) return "the server does not speak HTTP there";
  const text = cause instanceof Error ? cause.message : String(cause);
  // Node adds what its own command line could do about a certificate.
  return WORDS[code] ?? excerpt(text.replace(/; if the root CA .*$/, ""));
}

function hintFor(cause: unknown): string {
  if (isOutOfFiles(cause)) return OPEN_FILES_HINT;
  if (isPlain(cause)) return "Write http:// in place of https:// if that server is the right one.";
  if (NO_HTTP.test(codeOf(cause))) return "Check name and port in the setting host of this cache.";
  return CERTIFICATE.test(codeOf(cause))
    ? "Set NIX_SSL_CERT_FILE to a file that holds the authority of this certificate."
    : "Check the network, the proxy variables, and host and http:// or https:// of this cache.";
}

/** Whether a failed request may be repeated with hope: the network failed, not the protocol. */
export function isTransient(error: unknown): boolean {
  return (
    error instanceof HandpickError &&
    error.code === "NETWORK" &&
    !CERTIFICATE.test(codeOf(error.cause)) &&
    !NO_HTTP.test(codeOf(error.cause)) &&
    !isPlain(error.cause)
  );
}

/** Whether a TLS handshake was answered by something else, as OpenSSL tells it. */
function isPlain(error: unknown): boolean {
  return error instanceof Error && codeOf(error) === "EPROTO" && PLAIN.test(error.message);
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
