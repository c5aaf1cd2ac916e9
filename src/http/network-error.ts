import { HandpickError } from "../error.ts";
import { systemCode } from "../files/system-code.ts";
import { authorityHint } from "./certificate-files.ts";
import { isOutOfFiles, OPEN_FILES_HINT } from "../files/open-files.ts";
import { excerpt } from "./excerpt.ts";
import { endpointOf } from "./http-message.ts";
import type { HttpRequest } from "./http-message.ts";
import type { Proxy } from "./proxy.ts";

/** The proxy and the environment of a request. */
export interface Circumstances {
  readonly proxy: Proxy | undefined;
  /** Where certificate files are named. */
  readonly env: NodeJS.ProcessEnv;
}

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
/** Codes that no file of certificates can help against. */
const CERTIFICATE_HINTS: Readonly<Record<string, string>> = {
  ERR_TLS_CERT_ALTNAME_INVALID:
    "Check the host of this cache, and that no proxy or login page answers in its place: the certificate is for another name.",
  CERT_HAS_EXPIRED:
    "Check the clock of this machine; if it is right, the operator of the server has to renew the certificate.",
  CERT_NOT_YET_VALID: "Check the clock of this machine.",
};

/** The names of Node's parser for bytes that are no answer of HTTP. */
const NO_HTTP = /^HPE_INVALID/;

/** Node's name for a proxy that does not let us through. */
const NO_TUNNEL = "ERR_PROXY_TUNNEL";
const PROXY_AUTHENTICATION_REQUIRED = 407;

/** Tells of a request without an answer. Shows host and port only, as URLs may be secrets. */
export function networkError(
  request: HttpRequest,
  cause: unknown,
  circumstances: Circumstances,
): HandpickError {
  const endpoint = endpointOf(request.url);
  const found = `${whatHappened(cause, circumstances)}${addressOf(cause, endpoint)}`;
  const rule = `expected an answer from ${endpoint}, but ${found}`;
  const hint = hintFor(cause, circumstances);
  return new HandpickError("NETWORK", `Cannot ${request.action}: ${rule}`, { cause, hint });
}

/** The code that Node throws where the answer of a proxy stands in place of a tunnel; for plain HTTP. */
export function refusedByProxy(statusCode: number): Error {
  const error = new Error("The proxy did not let us through");
  return Object.assign(error, { code: NO_TUNNEL, statusCode });
}

/** Tells whether an answer is that of a proxy which wants to know who we are. */
export function isProxyRefusal(status: number): boolean {
  return status === PROXY_AUTHENTICATION_REQUIRED;
}

function whatHappened(cause: unknown, { proxy }: Circumstances): string {
  const code = systemCode(cause) ?? "";
  if (code === NO_TUNNEL) {
    const status = statusOf(cause);
    const name = proxy === undefined ? "a proxy in between" : `the proxy ${endpointOf(proxy.url)}`;
    return isProxyRefusal(status)
      ? `${name} wants other credentials (status ${status})`
      : `${name} did not let us through (status ${status})`;
  }
  if (isPlain(cause)) return "the server does not speak TLS there";
  if (NO_HTTP.test(code)) return "the server does not speak HTTP there";
  const text = cause instanceof Error ? cause.message : String(cause);
  // Node adds what its own command line could do about a certificate.
  return WORDS[code] ?? excerpt(text.replace(/; if the root CA .*$/, ""));
}

function hintFor(cause: unknown, { proxy, env }: Circumstances): string {
  if (isOutOfFiles(cause)) return OPEN_FILES_HINT;
  const code = systemCode(cause) ?? "";
  if (code === NO_TUNNEL) return proxyHint(statusOf(cause), proxy);
  if (isPlain(cause)) return PLAIN_HINT;
  if (NO_HTTP.test(code)) return "Check name and port in the setting host of this cache.";
  if (CERTIFICATE.test(code)) return CERTIFICATE_HINTS[code] ?? authorityHint(env);
  return proxy === undefined
    ? "Check the network, the proxy variables, and the host of this cache, with its http:// or https://."
    : `Check the network, the proxy in ${proxy.variable}, and the host of this cache.`;
}

/** Not every URL of a cache has https:// to replace. */
const PLAIN_HINT =
  "If that server is the right one, write http:// in place of https://; an attic:// cache has that in host, an s3:// cache as scheme=http.";

function proxyHint(status: number, proxy: Proxy | undefined): string {
  if (proxy === undefined) {
    return "Name that proxy with its credentials in https_proxy or http_proxy: http://USER:PASSWORD@HOST:PORT.";
  }
  const { variable, url } = proxy;
  if (!isProxyRefusal(status)) {
    return `Check the proxy in ${variable}, or list this host in no_proxy if it can be reached without.`;
  }
  const what = url.username === "" ? "Put" : "Correct";
  return `${what} user and password in ${variable}: http://USER:PASSWORD@${endpointOf(url)}.`;
}

/** Returns true if a failed request may be repeated with hope: the network failed, not the protocol. */
export function isTransient(error: unknown): boolean {
  if (!(error instanceof HandpickError) || error.code !== "NETWORK") return false;
  const { cause } = error;
  const code = systemCode(cause) ?? "";
  if (code === NO_TUNNEL) return statusOf(cause) >= 500;
  return !CERTIFICATE.test(code) && !NO_HTTP.test(code) && !isPlain(cause);
}

/** Returns true if a TLS handshake was answered by something else, as OpenSSL tells it. */
function isPlain(error: unknown): boolean {
  return error instanceof Error && systemCode(error) === "EPROTO" && PLAIN.test(error.message);
}

function statusOf(error: unknown): number {
  return error instanceof Error && "statusCode" in error ? Number(error.statusCode) : 0;
}

/** Tells the address that was tried, such as that of a proxy, unless it is the endpoint as named already. */
function addressOf(error: unknown, endpoint: string): string {
  if (!(error instanceof Error && "address" in error && "port" in error)) return "";
  const address = `${String(error.address)}:${String(error.port)}`;
  return address === endpoint ? "" : ` (${address})`;
}
