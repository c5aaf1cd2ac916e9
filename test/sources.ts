import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

/** Projects that tests try ours with, and a file that tells that a folder has one. */
const SOURCES = {
  "home-manager": "modules/modules.nix",
  "nixpkgs-lib": "lib/default.nix",
  "nix-darwin": "eval-config.nix",
  "nix-direnv": "direnvrc",
  "nix-on-droid": "modules/module-list.nix",
} as const;

export type SourceName = keyof typeof SOURCES;

/**
 * The sources of a project from outside, or why a test has to be skipped: they are no part of ours,
 * and are looked for in `HANDPICK_TEST_SOURCES`, else in a folder of the user's cache.
 */
export function sourceTree(name: SourceName): { readonly dir: string } | { readonly skip: string } {
  const dir = join(sourcesFolder(), name);
  if (existsSync(join(dir, SOURCES[name]))) return { dir };
  return {
    skip: `there is no ${SOURCES[name]} in ${dir}: put the sources of ${name} there, or name their folder in HANDPICK_TEST_SOURCES`,
  };
}

function sourcesFolder(): string {
  const { HANDPICK_TEST_SOURCES: named, XDG_CACHE_HOME: xdg } = process.env;
  if (named) return named;
  const cache = process.getuid?.() === 0 ? "/var/cache" : join(homedir(), ".cache");
  return join(xdg || cache, "nix-handpick/sources");
}
