import { chmod, readFile, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Bundles the program into `dist/`: `handpick.js`, its packing worker and what loads on demand. */
export async function bundle(): Promise<void> {
  const { version } = JSON.parse(await readFile(`${root}/package.json`, "utf8")) as {
    version: string;
  };
  await rm(`${root}/dist`, { recursive: true, force: true });
  await build({
    absWorkingDir: root,
    entryPoints: { handpick: "src/main.ts", "pack-worker": "src/push/pack-worker.ts" },
    outdir: "dist",
    chunkNames: "chunk-[hash]",
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node24",
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: "linked",
    define: { HANDPICK_VERSION: JSON.stringify(version) },
    // Some dependencies are CommonJS and ask for Node's own modules with require().
    banner: {
      js: 'import{createRequire as __createRequire}from"node:module";const require=__createRequire(import.meta.url);',
    },
    logLevel: "warning",
  });
  await chmod(`${root}/dist/handpick.js`, 0o755);
}

if (import.meta.main) await bundle();
