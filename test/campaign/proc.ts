import { readdir, readFile } from "node:fs/promises";

/** A program that ran meanwhile, as everybody on the machine may see it. */
export interface Sighting {
  readonly pid: number;
  readonly command: string;
  readonly environment: string;
}

/** Numbers of all processes. */
export async function processes(): Promise<Set<number>> {
  const names = await readdir("/proc").catch(() => []); // absent on other systems than Linux
  return new Set(names.filter((name) => /^\d+$/.test(name)).map(Number));
}

/** Looks at all processes but those of `except`; those that are gone by then are left out. */
export async function lookAtProcesses(except: ReadonlySet<number>): Promise<Sighting[]> {
  const seen: Sighting[] = [];
  for (const pid of await processes()) {
    if (except.has(pid)) continue;
    const command = await contents(pid, "cmdline");
    if (command !== "") seen.push({ pid, command, environment: await contents(pid, "environ") });
  }
  return seen;
}

async function contents(pid: number, file: string): Promise<string> {
  const text = await readFile(`/proc/${pid}/${file}`, "latin1").catch(() => "");
  return text.replaceAll("\0", " ");
}
