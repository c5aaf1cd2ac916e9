import type { Credentials } from "../src/config/credentials.ts";

/** The credentials of a cache that none were found for. */
export const NO_CREDENTIALS: Credentials = {
  token: undefined,
  tokenSource: undefined,
  login: undefined,
  loginSource: undefined,
  signingKeys: [],
  keySource: undefined,
  host: undefined,
  warnings: [],
  doubts: [],
};
