import { createCipheriv } from "node:crypto";

import type { Pick } from "../../src/nix/manifest.ts";
import type { PathInfo } from "../../src/nix/path-info.ts";
import { parseStorePath } from "../../src/nix/store-path.ts";
import type { StorePath } from "../../src/nix/store-path.ts";
import { openStore } from "../../src/store/open-store.ts";
import type { Store } from "../../src/store/store.ts";
import { createTestNix } from "../nix.ts";

const TINY_PATHS = 60;
/** Each of two parts. */
const LARGE_PATHS = 1;
const LARGE_BYTES = 9 << 20;

/** A real store with paths that refer to each other in every which way. */
export interface Graph extends AsyncDisposable {
  readonly store: Store;
  readonly pick: Pick;
  readonly infos: ReadonlyMap<StorePath, PathInfo>;
}

/** Makes the graph, the same paths every time. */
export async function createGraph(): Promise<Graph> {
  await using cleanup = new AsyncDisposableStack();
  const nix = cleanup.use(await createTestNix({ root: true }));
  const large: string[] = [];
  for (let index = 0; index < LARGE_PATHS; index++) {
    large.push(await nix.add(`large-${index}`, incompressible(index).toString("base64")));
  }
  const tiny = Array.from({ length: TINY_PATHS }, (_, index) => tinyPath(index));
  const names = tiny.map((_, index) => `n${index}`);
  const expression = `let ${large.map((path, i) => `l${i} = builtins.storePath ${path};`).join(" ")}
    ${tiny.join("\n")} in toString [ ${names.join(" ")} ]`;
  const options = ["--eval", "--read-write-mode", "-E", expression];
  const { stdout } = await nix.run("nix-instantiate", options);
  const paths = [...large, ...(JSON.parse(stdout) as string).split(" ")].map((path) =>
    parseStorePath(path),
  );
  const store = cleanup.use(await openStore({ env: nix.env }));
  const infos = await store.closure(paths);
  const kept = cleanup.move();
  return {
    store,
    infos,
    pick: {
      name: "graph",
      paths: paths.toReversed(),
      closure: "runtime",
      caches: undefined,
      exclude: [],
      pin: "graph",
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** A file that refers to up to three of those before it, near and far. */
function tinyPath(index: number): string {
  const near = [index - 1, index - 3].filter((other) => other >= 0 && (index * 7) % 5 < 3);
  const far = index % 4 === 0 && index > 8 ? [Math.floor(index / 3)] : [];
  const others = new Set([...near, ...far].map((other) => `\${n${other}}`));
  const large = index % 23 === 5 ? ["${l0}"] : [];
  const text = [`tiny ${index}`, ...others, ...large].join(" ");
  return `n${index} = builtins.toFile "tiny-${index}" "${text}";`;
}

function incompressible(seed: number): Buffer {
  const cipher = createCipheriv("aes-128-ctr", Buffer.alloc(16, seed + 1), Buffer.alloc(16));
  return cipher.update(Buffer.alloc(LARGE_BYTES));
}
