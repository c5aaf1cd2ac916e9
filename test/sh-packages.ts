/** The setting of a Nix that builds content-addressed derivations. */
export const CA_FEATURES: string = "experimental-features = nix-command ca-derivations";

/**
 * Writes Nix code of packages that need no nixpkgs. In `attributes`, `sh NAME EXTRA SCRIPT` is a derivation that runs
 * the script, and `ca` the extra attributes of a content-addressed one.
 *
 * @param head The arguments of a function that gives the packages. @default {none}
 */
export function shPackages(attributes: string, head = ""): string {
  return `${head}
let
  sh = name: extra: script: derivation ({
    inherit name;
    system = builtins.currentSystem;
    builder = "/bin/sh";
    PATH = "/bin:/usr/bin:/run/current-system/sw/bin";
    args = [ "-c" script ];
  } // extra);
  ca = { __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256"; };
in ${attributes}
`;
}
