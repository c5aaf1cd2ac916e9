import { hash, timingSafeEqual } from "node:crypto";

/** The worth of the credentials of a request. */
export type Access = "anonymous" | "owner" | "wrong";

/**
 * Judges an Authorization header: `Bearer TOKEN`, or Basic with the token as password (what netrc
 * files give). No header and an empty token are anonymous, as clients without a token send
 * `Bearer ` with nothing after it.
 */
export function judgeAccess(header: string | undefined, token: string): Access {
  const given = tokenOf(header ?? "");
  if (given === undefined) return "wrong";
  if (given === "") return "anonymous";
  return isSameSecret(given, token) ? "owner" : "wrong";
}

/** Compares two secrets in a time that depends on neither. */
export function isSameSecret(a: string, b: string): boolean {
  return timingSafeEqual(hash("sha256", a, "buffer"), hash("sha256", b, "buffer"));
}

function tokenOf(header: string): string | undefined {
  if (header === "") return "";
  const space = header.indexOf(" ");
  const scheme = (space === -1 ? header : header.slice(0, space)).toLowerCase();
  const rest = space === -1 ? "" : header.slice(space + 1).trim();
  if (scheme === "bearer") return rest;
  if (scheme !== "basic") return undefined;
  const credentials = Buffer.from(rest, "base64").toString();
  const colon = credentials.indexOf(":");
  return colon === -1 ? undefined : credentials.slice(colon + 1);
}
