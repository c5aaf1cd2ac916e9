import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

type SourceName = "home-manager" | "nixpkgs-lib" | "nix-darwin" | "nix-direnv";

/** Where a source tree from outside is, or why a test that needs it is skipped. */
export function sourceTree(name: SourceName): { dir: string } | { skip: string } {
  const dir = join(sourcesFolder(), name);
  if (existsSync(dir)) return { dir };
  return { skip: `there is no ${dir}: put the sources of ${name} there, see CONTRIBUTING.md` };
}

/** `HANDPICK_TEST_SOURCES`, or a folder of the user's cache, as for the trees of Nix. */
function sourcesFolder(): string {
  const { HANDPICK_TEST_SOURCES: named, XDG_CACHE_HOME: xdg } = process.env;
  if (named) return named;
  const cache = process.getuid?.() === 0 ? "/var/cache" : join(homedir(), ".cache");
  return join(xdg || cache, "nix-handpick/sources");
}
