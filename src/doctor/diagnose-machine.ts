import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { delimiter, join, resolve } from "node:path";

import type { Config } from "../config/config.ts";
import { stateDirectory } from "../config/state-directory.ts";
import { HandpickError } from "../error.ts";
import { stateFolder } from "../state/state-folder.ts";
import { readWanted } from "../state/wanted.ts";
import { check, ok, warning, type Check } from "./check.ts";
import { findStarter } from "../sync/starter.ts";
import { starterText } from "../sync/starter-text.ts";

export interface MachineOptions {
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  readonly uid: number;
}

/** Looks for the programs that a push may start. */
export async function* checkPrograms(
  { caches }: Config,
  { env }: MachineOptions,
): AsyncGenerator<Check> {
  if (!(await isOnPath("nix", env))) {
    const hint = "It builds installables such as .#foo; everything else works without it.";
    yield { name: "programs", ...warning("nix is not on PATH", hint) };
  }
  const logged = caches.filter(({ companions }) => companions.has("build-logs"));
  if (logged.length > 0 && !(await isOnPath("bzip2", env))) {
    const names = logged.map(({ name }) => name).join(", ");
    const hint = "Install bzip2: Nix keeps the logs of builds compressed by it.";
    yield {
      name: "programs",
      ...warning(`no build logs go to ${names}: bzip2 is not on PATH`, hint),
    };
  }
  const users = caches.filter(({ compression }) => compression === "xz").map(({ name }) => name);
  if (users.length === 0 || (await isOnPath("xz", env))) return;
  yield await check("programs", () => {
    const message = `Cannot compress for ${users.join(", ")}: xz is not on PATH`;
    const hint = 'Install xz, or choose compression = "zstd".';
    throw new HandpickError("COMPRESSOR_FAILED", message, { hint });
  });
}

/** Finds out what starts a sync here; nobody has to where nothing is wanted. */
export async function checkStarter({ env, cwd, uid }: MachineOptions): Promise<Check> {
  return check("sync", async () => {
    const folder = stateFolder(resolve(cwd, stateDirectory(env, uid)));
    const starter = await findStarter(folder, { env });
    const isWanted = (await readWanted(folder)).length > 0;
    if (starter.by !== "nobody") return ok(starterText(starter));
    if (!isWanted) return ok(`${starterText(starter)}, and nothing is wanted`);
    return warning(
      starterText(starter),
      "Run handpick sync; its --help lists what else starts it.",
    );
  });
}

async function isOnPath(program: string, { PATH = "" }: NodeJS.ProcessEnv): Promise<boolean> {
  for (const folder of PATH.split(delimiter)) {
    const isThere = await access(join(folder, program), constants.X_OK).then(
      () => true,
      () => false,
    );
    if (isThere) return true;
  }
  return false;
}
