import type { Secret } from "../secret.ts";
import type { Login } from "./kind.ts";

export interface Credentials {
  readonly token?: Secret | undefined;
  /** Used where there is no token. */
  readonly login?: Login | undefined;
}

/** The header by which a web server knows us; undefined without credentials. */
export function authorizationOf({ token, login }: Credentials): string | undefined {
  if (token !== undefined) return `Bearer ${token.reveal()}`;
  if (login === undefined) return undefined;
  const { user, password } = login;
  return `Basic ${Buffer.from(`${user}:${password.reveal()}`).toString("base64")}`;
}
