import { createCipheriv } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { nixRecords, type NixRecord } from "../crash/cache-check.ts";
import { createTestNix, type TestNix } from "../nix.ts";
import type { CacheName } from "./schedule.ts";

/** Stands in the contents of every path that nobody picked. */
export const UNPICKED_MARK = "nobody-picked-this";

/** Two parts: more than 8 MiB that do not get smaller. */
const LARGE_BYTES = (8 << 20) + 4096;

/** A selection of the machine, and which paths it wants in which cache. */
export interface Wanted {
  readonly manifest: string;
  readonly paths: ReadonlyMap<CacheName, readonly string[]>;
}

/** A Nix whose store is made once and read by every round. */
export interface Machine extends AsyncDisposable {
  readonly nix: TestNix;
  /** Selections for one cache and for two. */
  readonly wanted: readonly [Wanted, Wanted];
  /** The expression that `exec` builds of. */
  readonly expression: string;
  /** False where Nix cannot build in a chroot store: `exec` is left out there. */
  readonly canBuild: boolean;
  /** All paths of the store, as Nix records them now. */
  records(): Promise<readonly NixRecord[]>;
}

/** Makes the store: a chain, a diamond, a large path, and paths of which nobody wants to hear. */
export async function createMachine(): Promise<Machine> {
  await using stack = new AsyncDisposableStack();
  const nix = stack.use(await createTestNix({ root: true }));
  const large = join(nix.dir, "large");
  await writeFile(large, incompressible());
  const evaluate = ["--eval", "--json", "--strict", "--read-write-mode", "-E", storeOf(large)];
  const { stdout } = await nix.run("nix-instantiate", evaluate);
  const made = JSON.parse(stdout) as Made;
  const expression = join(nix.dir, "built.nix");
  await writeFile(expression, BUILT);
  await mkdir(join(nix.dir, "rounds"));
  const canBuild = await builds(nix, expression);
  const kept = stack.move();
  const all = [made.top, made.wide, made.large];
  return {
    nix,
    wanted: [
      { manifest: made.single, paths: new Map([["one", all]]) },
      {
        manifest: made.double,
        paths: new Map([
          ["one", [made.top, made.wide, made.large]],
          ["two", [made.top, made.data]],
        ]),
      },
    ],
    expression,
    canBuild,
    records: () => nixRecords(nix),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

type Made = Readonly<
  Record<"top" | "wide" | "large" | "data" | "single" | "double" | "unpicked", string>
>;

function storeOf(large: string): string {
  return `with rec {
    large = "\${${large}}";
    link = n: if n == 0 then builtins.toFile "link-0" "first"
      else builtins.toFile "link-\${toString n}" "link \${toString n} \${link (n - 1)}";
    top = builtins.toFile "top" "\${link 4} \${left} \${right}";
    base = builtins.toFile "base" "base";
    left = builtins.toFile "left" "left \${base}";
    right = builtins.toFile "right" "right \${base}";
    wide = builtins.toFile "wide" "\${link 2} \${large} \${right}";
    data = builtins.toFile "data" "data \${base}";
    unpicked = builtins.toFile "unpicked-above" "${UNPICKED_MARK} \${top} \${other}";
    other = builtins.toFile "unpicked-beside" "${UNPICKED_MARK}";
    manifest = name: picks: builtins.toFile "handpick-\${name}.json"
      (builtins.toJSON { version = 1; inherit name picks; });
    pick = name: paths: more: { inherit name paths; } // more;
    single = manifest "home" [
      (pick "top" [ top ] { pin = "top"; })
      (pick "wide" [ wide large ] { })
    ];
    double = manifest "home" [
      (pick "top" [ top ] { caches = [ "one" "two" ]; pin = "top"; })
      (pick "wide" [ wide large ] { caches = [ "one" ]; })
      (pick "data" [ data ] { caches = [ "two" ]; })
    ];
  }; { inherit top wide large data single double unpicked; }`;
}

/** What `exec` builds under a tag: `built-*` is accepted, `other-*` is not. */
const BUILT = `
{ tag }:
let
  make = name: script: derivation {
    name = "\${name}-\${tag}";
    system = builtins.currentSystem;
    builder = "/bin/sh";
    args = [ "-c" script ];
  };
in rec {
  first = make "built-first" "echo first \${tag} > $out";
  second = make "built-second" "echo second \${first} > $out";
  third = make "built-third" "echo third \${first} \${second} > $out";
  other = make "other" "echo ${UNPICKED_MARK} \${third} > $out";
}
`;

async function builds(nix: TestNix, expression: string): Promise<boolean> {
  const args = [expression, "--no-out-link", "--argstr", "tag", "try", "-A", "first"];
  return (await nix.run("nix-build", args, { allowFailure: true })).status === 0;
}

function incompressible(): Buffer {
  const cipher = createCipheriv("aes-128-ctr", Buffer.alloc(16, 7), Buffer.alloc(16));
  return cipher.update(Buffer.alloc(LARGE_BYTES));
}
