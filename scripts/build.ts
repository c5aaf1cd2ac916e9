import { chmod, mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

import { withoutBuiltinImports } from "./builtin-imports.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const dist = join(root, "dist");

/** Bundles the program into `dist/`: `handpick.js`, its packing worker and what loads on demand. */
export async function bundle(): Promise<void> {
  const { version } = JSON.parse(await readFile(`${root}/package.json`, "utf8")) as {
    version: string;
  };
  // Of packages that have both, what esbuild can leave unused parts out of, and load in pieces.
  const mainFields = ["module", "main"];
  const options = {
    absWorkingDir: root,
    outdir: "dist",
    write: false,
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node24",
    mainFields,
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: "linked",
    define: { HANDPICK_VERSION: JSON.stringify(version) },
    logLevel: "warning",
  } as const;
  const program = await build({
    ...options,
    entryPoints: { handpick: "src/main.ts" },
    splitting: true,
    chunkNames: "chunk-[hash]",
  });
  // In one file of its own: chunks that both share would be more files for both to load.
  const worker = await build({ ...options, entryPoints: ["src/push/pack-worker.ts"] });
  const outputFiles = [...program.outputFiles, ...worker.outputFiles];
  await mkdir(dist, { recursive: true });
  for (const { path, text } of outputFiles) {
    await update(path, path.endsWith(".js") ? withoutBuiltinImports(text) : text);
  }
  const wanted = new Set(outputFiles.map(({ path }) => basename(path)));
  for (const name of await readdir(dist)) {
    if (!wanted.has(name)) await rm(join(dist, name), { recursive: true });
  }
  await chmod(join(dist, "handpick.js"), 0o755);
}

/** Leaves a file alone that is up to date: the program may be running from there right now. */
async function update(file: string, contents: string): Promise<void> {
  const before = await readFile(file, "utf8").catch(() => undefined);
  if (before === contents) return;
  const temporary = `${file}.${process.pid}`;
  await writeFile(temporary, contents);
  await rename(temporary, file);
}

if (import.meta.main) await bundle();
