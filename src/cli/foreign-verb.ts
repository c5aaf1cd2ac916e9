import { HandpickError } from "../error.ts";

/** Commands of Cachix's client that handpick has under another name, or does without. */
const OURS: ReadonlyMap<string, string> = new Map([
  ["watch-store", "that of handpick is: handpick watch"],
  ["watch-exec", "that of handpick is: handpick exec -- COMMAND"],
  ["generate-keypair", "that of handpick is: handpick keygen NAME --register CACHE"],
  [
    "authtoken",
    "handpick reads what cachix authtoken wrote, CACHIX_AUTH_TOKEN or the token-file of a cache; " +
      "check it by: handpick doctor CACHE",
  ],
  [
    "use",
    "readers of a cache need no handpick, but cachix use NAME, or substituters and " +
      "trusted-public-keys in nix.conf",
  ],
]);

/**
 * Refuses a command of Cachix's client by the name of ours.
 *
 * @throws {HandpickError} `USAGE`
 */
export function assertNoForeignVerb(name: string): void {
  const ours = OURS.get(name);
  if (ours === undefined) return;
  throw new HandpickError("USAGE", `Cannot run "${name}", a command of cachix: ${ours}`);
}
