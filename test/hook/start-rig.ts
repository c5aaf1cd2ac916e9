import { watch } from "node:fs";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { HOOK, type HookRig, hookRig, TOOLS } from "./hook-rig.ts";

/** Arguments, descriptors and variables of a program that the hook started. */
export interface Start {
  readonly args: string;
  /** Where its first three descriptors lead. */
  readonly descriptors: readonly string[];
  readonly variables: readonly string[];
}

/** A {@link HookRig} with a program that tells of itself, and then stays until it is released. */
export interface StartRig extends HookRig {
  readonly program: string;
  /** The starts, once there are so many. */
  starts(count: number): Promise<Start[]>;
  /** Returns true once the hook claimed the start of a sync; it has started nothing before. */
  hasClaimed(): Promise<boolean>;
  /** Does what a sync does first. */
  emptySpool(): Promise<void>;
  /** Returns the commands by which a shell selects a manifest and starts the program. */
  selecting(name: string, manifest: string): string;
}

export async function startRig(): Promise<StartRig> {
  const rig = await hookRig();
  const told = join(rig.dir, "told");
  const program = join(rig.dir, "program");
  await mkdir(told);
  await writeFile(program, programText(rig.dir), { mode: 0o755 });
  return {
    ...rig,
    program,
    starts: async (count) => {
      await filesIn(told, count);
      const names = await readdir(told);
      return Promise.all(
        names.map(async (name) => toStart(await readFile(join(told, name), "utf8"))),
      );
    },
    hasClaimed: async () => (await rig.found()).spool.includes("starting"),
    emptySpool: async () => {
      for (const name of (await rig.found()).spool) await rm(join(rig.state, "spool", name));
    },
    selecting: (name, manifest) =>
      `. ${HOOK}; _handpick_select ${name} ${manifest} ${TOOLS} ${program} || :`,
    [Symbol.asyncDispose]: async () => {
      await writeFile(join(rig.dir, "released"), "");
      // A program may have begun a moment ago, and tell of itself meanwhile.
      await rm(rig.dir, { recursive: true, force: true, maxRetries: 10 });
      await rig[Symbol.asyncDispose]();
    },
  };
}

/** Tells by a rename; ends when its folder goes. */
function programText(dir: string): string {
  return `#!/bin/sh
tell() {
  echo "$*"
  for fd in 0 1 2; do readlink /proc/$$/fd/$fd; done
  env
}
told=$(tell "$@")
echo "$told" >${dir}/.told-$$
mv ${dir}/.told-$$ ${dir}/told/$$
while [ -e ${dir}/told ] && [ ! -e ${dir}/released ]; do sleep 0.1; done
`;
}

function toStart(text: string): Start {
  const [args = "", ...lines] = text.trimEnd().split("\n");
  return {
    args,
    descriptors: lines.slice(0, 3),
    variables: lines.slice(3).flatMap((line) => /^(\w+)=/.exec(line)?.[1] ?? []),
  };
}

/** Waits until a folder has so many files. */
async function filesIn(folder: string, count: number): Promise<void> {
  const reached = Promise.withResolvers<void>();
  const look = async (): Promise<void> => {
    if ((await readdir(folder)).length >= count) reached.resolve();
  };
  const watcher = watch(folder, () => void look());
  try {
    await look();
    await reached.promise;
  } finally {
    watcher.close();
  }
}
