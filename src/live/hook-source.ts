import { execFile } from "node:child_process";
import { mkdtemp, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import { readBuildsIn } from "../state/spool.ts";
import type { Store } from "../store/store.ts";
import { outputsOf } from "../run/build-outputs.ts";
import { withSetting } from "./nix-settings.ts";
import type { PathSource, Taken } from "./path-source.ts";

/** Texts that can stand in nix.conf and in a shell script as they are. */
const PLAIN_PATH = /^\/[\w./+-]+$/;

export interface HookOptions {
  readonly store: Store;
  readonly env: NodeJS.ProcessEnv;
  /** The hook that runs anyway, and goes on doing so. */
  readonly configured: string | undefined;
}

/**
 * A post-build-hook of our own, which tells of the builds of those who have {@link HookSource.env}
 * in their environment:
 *
 *     FOLDER (0700)/hook           the script; root runs it where a daemon builds
 *     FOLDER/built-HASH-PID        what it leaves: the derivation, then a line for each output
 */
export class HookSource implements PathSource {
  readonly description = "a post-build-hook";
  readonly folder: string;
  readonly env: Readonly<Record<string, string>>;
  readonly #store: Store;

  private constructor(folder: string, { store, env }: HookOptions) {
    this.folder = folder;
    this.env = { NIX_CONFIG: withSetting(env["NIX_CONFIG"], "post-build-hook", hookIn(folder)) };
    this.#store = store;
  }

  /** Undefined where such a hook could not be run: builds would fail with it. */
  static async make(options: HookOptions): Promise<HookSource | undefined> {
    const { configured = "" } = options;
    if (configured !== "" && !PLAIN_PATH.test(configured)) return undefined;
    await using stack = new AsyncDisposableStack();
    try {
      const folder = await mkdtemp(join(await realpath(tmpdir()), "handpick-exec-"));
      stack.defer(() => rm(folder, { recursive: true, force: true }));
      if (!PLAIN_PATH.test(folder)) return undefined;
      await writeFile(hookIn(folder), scriptFor(folder, configured), { mode: 0o755 });
      // A disk may forbid to run what is on it. Without DRV_PATH it does nothing.
      await promisify(execFile)(hookIn(folder), [], { env: {} });
      stack.move();
      return new HookSource(folder, options);
    } catch {
      return undefined;
    }
  }

  async take(): Promise<Taken> {
    const builds = await readBuildsIn(this.folder);
    const outputs = await Promise.all(builds.map((build) => outputsOf(build, this.#store)));
    return {
      paths: [...new Set(outputs.flat())],
      done: async () => {
        for (const { file } of builds) await rm(file, { force: true });
      },
    };
  }

  /** Never fails: the command has ended, and its exit code is what counts. */
  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.folder, { recursive: true, force: true }).catch(() => undefined);
  }
}

function hookIn(folder: string): string {
  return join(folder, "hook");
}

/** Ends as the configured hook does, else well; both get what Nix tells. */
function scriptFor(folder: string, configured: string): string {
  return `#!/bin/sh
# Made by handpick exec, which removes it when it ends.
[ -n "\${DRV_PATH-}" ] || exit 0
(
  set -f
  umask 022 # root writes what its user reads
  PATH=\${PATH:+$PATH:}/run/current-system/sw/bin:/usr/bin:/bin
  name=\${DRV_PATH##*/}
  name=\${name%%-*}-$$
  cd ${folder} || exit
  printf '%s\\n' "$DRV_PATH" \${OUT_PATHS-} >".$name" && mv -f ".$name" "built-$name"
) </dev/null >/dev/null 2>&1
${configured === "" ? "exit 0" : `exec ${configured}`}
`;
}
