import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { text } from "node:stream/consumers";

export interface RunOptions {
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** Ends the process and what it started. */
  readonly signal: AbortSignal;
}

export interface Finished {
  /** From the start of the process to the end of its output. */
  readonly seconds: number;
  readonly stdout: string;
  /** Largest resident memory seen, or 0 where the system does not tell. */
  readonly peakBytes: number;
}

/** Memory only grows to its peak once, so looking now and then is enough. */
const LOOK_MS = 20;

/**
 * Runs a program to its end, in a process group of its own so that all of it can be ended.
 *
 * @throws {Error} If it ends with anything but 0.
 * @throws The reason `signal` was aborted with.
 */
export async function run(
  command: string,
  args: readonly string[],
  { env, cwd, signal }: RunOptions,
): Promise<Finished> {
  signal.throwIfAborted();
  const startMs = performance.now();
  const child = spawn(command, args, {
    cwd,
    env,
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const end = (): void => endGroup(child.pid);
  signal.addEventListener("abort", end);
  let peakBytes = 0;
  const look = setInterval(() => {
    peakBytes = Math.max(peakBytes, peakOf(child.pid));
  }, LOOK_MS);
  try {
    const [stdout, stderr, [status]] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, "close") as Promise<[number | null]>,
    ]);
    const seconds = (performance.now() - startMs) / 1000;
    signal.throwIfAborted();
    if (status !== 0) {
      const words = [command, ...args].join(" ").slice(0, 300);
      throw new Error(`Cannot run ${words}: exit status ${status}\n${stderr.slice(-2000)}`);
    }
    return { seconds, stdout, peakBytes };
  } finally {
    clearInterval(look);
    signal.removeEventListener("abort", end);
  }
}

function endGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGTERM");
  } catch (error) {
    // It ended by itself a moment ago.
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** The peak that the kernel keeps for a process; 0 once it is gone. */
function peakOf(pid: number | undefined): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}
