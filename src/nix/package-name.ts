/** Nix's rule: the version begins after the first dash that no letter follows. */
const VERSIONED = /^(.+?)-[^A-Za-z].*$/s;

/** The name of a package without its version, cut from a derivation's or a path's name as Nix does. */
export function packageNameOf(name: string): string {
  return VERSIONED.exec(name)?.[1] ?? name;
}
