import { createCipheriv } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { nixRecords, type NixRecord } from "../crash/cache-check.ts";
import { createTestNix, type TestNix } from "../nix.ts";
import { generateSecretKey, printSecretKey } from "../../src/nix/key.ts";
import type { CacheName } from "./fault-step.ts";
import type { SigningKey } from "./kinds/kind.ts";

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
  /**
   * Selections for one cache and for two, as many as a round has runs: each wants other paths than
   * the one before, so that there is something to do.
   */
  readonly wanted: readonly Readonly<Record<1 | 2, Wanted>>[];
  /** A wanted path that an upstream may have. */
  readonly upstream: NixRecord;
  /** Signs for caches that take signatures. */
  readonly key: SigningKey;
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
  const made = JSON.parse(stdout) as Made[];
  const expression = join(nix.dir, "built.nix");
  await writeFile(expression, BUILT);
  await mkdir(join(nix.dir, "rounds"));
  const canBuild = await builds(nix, expression);
  const upstream = (await nixRecords(nix)).find(({ path }) => path.endsWith("-base"));
  if (upstream === undefined) throw new Error("The store lacks the path that it was made with");
  const key = { secret: generateSecretKey("campaign-1"), file: join(nix.dir, "key") };
  await writeFile(key.file, printSecretKey(key.secret, "nix"), { mode: 0o600 });
  const kept = stack.move();
  return {
    nix,
    wanted: made.map(({ top, wide, large, data, single, double }) => ({
      1: { manifest: single, paths: new Map([["one", [top, wide, large]]]) },
      2: {
        manifest: double,
        paths: new Map([
          ["one", [top, wide, large]],
          ["two", [top, data]],
        ]),
      },
    })),
    upstream,
    key,
    expression,
    canBuild,
    records: () => nixRecords(nix),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

type Made = Readonly<Record<"top" | "wide" | "large" | "data" | "single" | "double", string>>;

function storeOf(large: string): string {
  return `with rec {
    large = "\${${large}}";
    base = builtins.toFile "base" "base";
    manifest = name: picks: builtins.toFile "handpick-\${name}.json"
      (builtins.toJSON { version = 1; inherit name picks; });
    pick = name: paths: more: { inherit name paths; } // more;
    selection = turn: rec {
      file = name: text: builtins.toFile "\${name}-\${turn}" text;
      link = n: if n == 0 then file "link-0" "first"
        else file "link-\${toString n}" "link \${toString n} \${link (n - 1)}";
      left = file "left" "left \${base}";
      right = file "right" "right \${base}";
      top = file "top" "\${link 4} \${left} \${right}";
      wide = file "wide" "\${link 2} \${large} \${right}";
      data = file "data" "data \${base}";
      beside = file "unpicked-beside" "${UNPICKED_MARK}";
      above = file "unpicked-above" "${UNPICKED_MARK} \${top} \${beside}";
      single = manifest "home" [
        (pick "top" [ top ] { pin = "top"; })
        (pick "wide" [ wide large ] { })
      ];
      double = manifest "home" [
        (pick "top" [ top ] { caches = [ "one" "two" ]; pin = "top"; })
        (pick "wide" [ wide large ] { caches = [ "one" ]; })
        (pick "data" [ data ] { caches = [ "two" ]; })
      ];
    };
    told = { top, wide, data, single, double, above, ... }: {
      inherit top wide data single double above large;
    };
  }; map (turn: told (selection turn)) [ "a" "b" "c" ]`;
}

/** Expression that `exec` builds under a tag: `built-*` is accepted, `other-*` is not. */
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
