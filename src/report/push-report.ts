import type { RunEvent } from "../run/events.ts";
import { type OutputStream, wrapText, writeText } from "./output.ts";
import { painter } from "./painter.ts";
import { linesOfRun, summaryLine } from "./push-lines.ts";
import { PushProgress } from "./push-progress.ts";
import { reasonWithText } from "../plan/reason-text.ts";

/** Shows a run's events. */
export interface PushReport {
  show(event: RunEvent): void;
  /** Clears what would be redrawn. Called once, also after a failure. */
  end(): void;
}

export interface Streams {
  /** Results. */
  readonly stdout: OutputStream;
  /** Everything else. */
  readonly stderr: OutputStream;
  /** Once aborted, nothing is redrawn: the process may be ended at any time. */
  readonly signal?: AbortSignal;
}

const REDRAW_MS = 100;
const PLAIN_STATUS_MS = 10_000;
const DEFAULT_COLUMNS = 80;
const SPINNER = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"] as const;

/** One JSON event a line on stdout. */
export function jsonReport({ stdout }: Streams): PushReport {
  return {
    show: (event) => {
      const told = "reason" in event ? { ...event, reason: reasonWithText(event.reason) } : event;
      stdout.write(`${JSON.stringify(told)}\n`);
    },
    end: () => undefined,
  };
}

const FAILURES: ReadonlySet<RunEvent["event"]> = new Set<RunEvent["event"]>([
  "failed",
  "pin-failed",
  "rejected",
  "error",
]);

/** Prints only failures, on stderr. An error that every retry repeats is printed once, until a cache answers. */
export function quietReport({ stderr }: Streams): PushReport {
  const linesOf = linesOfRun(painter(stderr));
  const shown = new Set<string>();
  return {
    show: (event) => {
      const lines = linesOf(event);
      if (event.event === "plan") shown.clear();
      const isError = event.event === "note" && event.level === "error";
      if (!isError && !FAILURES.has(event.event)) return;
      if (isError && shown.has(event.text)) return;
      if (isError) shown.add(event.text);
      for (const line of lines) writeText(stderr, line);
    },
    end: () => undefined,
  };
}

/** Lines for logs: no colour, no redrawing, a status at most every 10 s and only if it changed. */
export function plainReport(
  { stdout, stderr }: Streams,
  now: () => number = () => performance.now(),
): PushReport {
  const progress = new PushProgress(now);
  const linesOf = linesOfRun(painter(stderr));
  let shownMs = now();
  let shown: string | undefined;
  return {
    show: (event) => {
      follow(progress, event);
      for (const line of linesOf(event)) writeText(stderr, line);
      if (event.event === "summary") writeText(stdout, summaryLine(event));
      const status = now() - shownMs >= PLAIN_STATUS_MS ? progress.line() : undefined;
      if (status === undefined || status === shown) return;
      stderr.write(`${status.trim()}\n`);
      shownMs = now();
      shown = status;
    },
    end: () => undefined,
  };
}

/** The terminal: finished lines stay, the last line is redrawn at most ten times a second. */
export async function terminalReport({ stdout, stderr, signal }: Streams): Promise<PushReport> {
  const { createLogUpdate } = await import("log-update");
  const screen = createLogUpdate(stderr, { showCursor: true });
  const progress = new PushProgress();
  const linesOf = linesOfRun(painter(stderr));
  let frame = 0;
  const redraw = (): void => {
    frame += 1;
    const spinner = `${SPINNER[frame % SPINNER.length] ?? ""} `;
    const line = progress.line((stderr.columns ?? DEFAULT_COLUMNS) - spinner.length);
    if (line === undefined) screen.clear();
    else screen(`${spinner}${line}`);
  };
  const timer = setInterval(redraw, REDRAW_MS).unref();
  const stop = (): void => {
    clearInterval(timer);
    screen.clear();
  };
  signal?.addEventListener("abort", stop, { once: true });
  return {
    show: (event) => {
      follow(progress, event);
      const lines = linesOf(event);
      if (lines.length > 0)
        screen.persist(wrapText(lines.join("\n"), stderr.columns ?? DEFAULT_COLUMNS));
      if (event.event !== "summary") return;
      screen.clear();
      writeText(stdout, summaryLine(event));
    },
    end: () => {
      signal?.removeEventListener("abort", stop);
      stop();
    },
  };
}

function follow(progress: PushProgress, event: RunEvent): void {
  switch (event.event) {
    case "plan":
      progress.expect(event.push, event.pushBytes);
      return;
    case "start":
    case "sent":
    case "pushed":
    case "failed":
      progress.update(event);
      return;
    case "held":
      if (event.reason.code === "reference-failed") progress.update(event);
      return;
    case "excluded":
    case "pinned":
    case "pin-failed":
    case "rejected":
    case "note":
    case "error":
    case "summary":
      return;
  }
}
