import { cp, mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";

import { readProject, ROOT } from "./markdown.ts";
import type { TestNix } from "./nix.ts";

interface Locked {
  readonly version?: string;
  readonly dev?: boolean;
  readonly devOptional?: boolean;
  readonly optional?: boolean;
  readonly peer?: boolean;
}

/** The hash that `modules` of nix/package.nix has to have, of the packages that are installed here. */
export async function nodeModulesHash(nix: TestNix): Promise<string> {
  const lock = JSON.parse(await readProject("package-lock.json")) as {
    readonly packages: Readonly<Record<string, Locked>>;
  };
  const out = join(nix.dir, "handpick-node-modules");
  for (const [path, { version, dev, devOptional, optional, peer }] of Object.entries(
    lock.packages,
  )) {
    if (path === "" || dev || devOptional || optional || peer) continue;
    const from = join(ROOT, path);
    await assertInstalled(from, version);
    await mkdir(join(out, path), { recursive: true });
    const filter = (file: string): boolean => file !== join(from, "node_modules");
    await cp(from, join(out, path), { recursive: true, filter });
  }
  await nix.run("find", [out, "-type", "f", "-exec", "chmod", "a-x", "{}", "+"]);
  const { stdout } = await nix.run("nix-hash", ["--type", "sha256", out]);
  return `sha256-${Buffer.from(stdout.trim(), "hex").toString("base64")}`;
}

/** @throws {Error} If another version is installed than the lock file has: the hash would be that of it. */
async function assertInstalled(folder: string, wanted: string | undefined): Promise<void> {
  const { version } = JSON.parse(await readFile(join(folder, "package.json"), "utf8")) as Locked;
  if (version === wanted) return;
  throw new Error(`${folder}: expected version ${wanted}, found ${version}`);
}
