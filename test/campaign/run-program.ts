import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Duplex } from "node:stream";
import { text } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { CHANNEL, startHandpick } from "../handpick.ts";
import type { TestNix } from "../nix.ts";
import type { Disk, DiskCall } from "./kinds/kind.ts";
import { lookAtProcesses, processes } from "./proc.ts";
import type { Sighting } from "./proc.ts";

const [WARP = "", DISK = ""] = ["warp.mjs", "disk.mjs"].map((name) =>
  fileURLToPath(new URL(name, import.meta.url)),
);

/** Factor by which time passes faster for a program among faults: a minute takes two seconds. */
export const FASTER = 30;

/** No run takes longer, be it among faults: all tries together end within 15 min of its time. */
const MOST_MS = 90_000;

const LOOK_MS = 40;

/** End of a run of the program, and what was seen of the run. */
export interface Ended {
  readonly args: readonly string[];
  /** Exit status; undefined where a signal ended it. */
  readonly status: number | undefined;
  readonly signal: NodeJS.Signals | undefined;
  readonly stdout: string;
  readonly stderr: string;
  readonly durationMs: number;
  /** True if the program did not end in time and was killed. */
  readonly hung: boolean;
  /** Programs of the machine that have to do with the run or hold a secret, itself left out. */
  readonly sightings: readonly Sighting[];
  /** Such programs that are there after it ended. */
  readonly leftBehind: readonly Sighting[];
}

export interface ProgramOptions {
  readonly nix: TestNix;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** A file with the milliseconds by which the clock of the program is off. */
  readonly clock: string;
  readonly faster: number;
  /** Folders whose calls the program asks about. */
  readonly disks: readonly Disk[];
  /** Texts by which a program that has to do with the run is known. */
  readonly marks: readonly string[];
  readonly onStart: (kill: (signal: NodeJS.Signals) => void) => void;
}

/** Runs the program to its end, and looks meanwhile at what else runs on the machine. */
export async function runProgram(options: ProgramOptions): Promise<Ended> {
  const { nix, args, cwd, disks } = options;
  const before = await processes();
  const startMs = performance.now();
  const child = startHandpick(nix, args, {
    cwd,
    nodeArgs: ["--import", WARP, ...(disks.length === 0 ? [] : ["--import", DISK])],
    uncovered: true,
    hasChannel: disks.length > 0,
    env: {
      ...options.env,
      CAMPAIGN_CLOCK: options.clock,
      CAMPAIGN_FACTOR: String(options.faster),
      ...(disks.length === 0
        ? {}
        : { CAMPAIGN_DISKS: disks.map(({ folder }) => folder).join(":") }),
    },
  });
  child.stdin.on("error", () => undefined); // it may end without reading
  child.stdin.end();
  if (disks.length > 0) attend(child.stdio.at(CHANNEL) as Duplex, disks);
  options.onStart((signal) => void child.kill(signal));
  const known: Known = {
    pids: new Set([...before, process.pid, child.pid ?? 0]),
    // Between fork and exec a program to be started looks like the one that starts it.
    command: `${child.spawnargs.join(" ")} `,
    marks: options.marks,
  };
  const watching = new AbortController();
  const sightings = watchProcesses(known, watching.signal);
  let hung = false;
  const tooLong = setTimeout(() => {
    hung = true;
    child.kill("SIGKILL");
  }, MOST_MS);
  const output = Promise.all([text(child.stdout), text(child.stderr)]);
  await once(child, "exit");
  const durationMs = performance.now() - startMs;
  clearTimeout(tooLong);
  watching.abort();
  const seen = await sightings;
  const leftBehind = await whoStays(known);
  // Children may hold the pipes: these are read to their end once the children are gone.
  const [stdout, stderr] = await output;
  return {
    args,
    status: child.exitCode ?? undefined,
    signal: child.signalCode ?? undefined,
    stdout,
    stderr,
    durationMs,
    hung,
    sightings: seen,
    leftBehind,
  };
}

/** Answers what the program asks about its disks until it is gone. */
export function attend(channel: Duplex, disks: readonly Disk[]): void {
  const onLine = (line: string): void => {
    const call = JSON.parse(line) as DiskCall;
    for (const disk of disks) disk.hear(call);
    const disk = disks.find(({ folder }) => `${call.path}/`.startsWith(`${folder}/`));
    void disk?.answer(call).then((answer) => {
      if (answer !== undefined) channel.write(`${answer}\n`);
    });
  };
  // It may be killed in the middle of a question.
  const ignore = (): void => undefined;
  channel.on("error", ignore);
  createInterface({ input: channel }).on("error", ignore).on("line", onLine);
}

/** Which programs have nothing to do with a run, and by which texts others are known. */
interface Known {
  readonly pids: ReadonlySet<number>;
  readonly command: string;
  readonly marks: readonly string[];
}

async function watchProcesses(known: Known, signal: AbortSignal): Promise<Sighting[]> {
  const seen = new Map<string, Sighting>();
  while (!signal.aborted) {
    for (const sighting of await relevant(known)) {
      seen.set(`${sighting.pid} ${sighting.command}`, sighting);
    }
    await delay(LOOK_MS);
  }
  return [...seen.values()];
}

/** Programs that are still there seconds later; an interrupted build takes a moment to end. */
async function whoStays(known: Known): Promise<Sighting[]> {
  let left = await relevant(known);
  for (let tries = 0; left.length > 0 && tries < 100; tries++) {
    await delay(50);
    left = await relevant(known);
  }
  // Nobody is to wait for their output.
  for (const { pid } of left) tryToKill(pid);
  return left;
}

function tryToKill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // it ended by itself
  }
}

async function relevant({ pids, command, marks }: Known): Promise<Sighting[]> {
  const all = await lookAtProcesses(pids);
  return all.filter((one) => {
    const isMarked = marks.some((mark) => `${one.command} ${one.environment}`.includes(mark));
    return isMarked && one.command !== command;
  });
}
