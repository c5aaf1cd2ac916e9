import type { Credentials } from "../src/config/credentials.ts";

/** The credentials of a cache that none were found for. */
export const NO_CREDENTIALS: Credentials = {
  token: undefined,
  tokenSource: undefined,
  login: undefined,
  loginSource: undefined,
  signingKey: undefined,
  keySource: undefined,
  host: undefined,
  warnings: [],
  doubts: [],
};
