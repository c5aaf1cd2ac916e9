import { jsonReport, plainReport, quietReport, terminalReport } from "../report/push-report.ts";
import type { PushReport } from "../report/push-report.ts";
import { NO_STATUS_LINE, openStatusLine, type StatusLine } from "../report/status-line.ts";
import type { CommonOptions } from "./command.ts";
import type { Io } from "./io.ts";

const MIN_COLUMNS = 20;

/** The report that options and surroundings ask for. */
export async function chooseReport(io: Io, { json, quiet }: CommonOptions): Promise<PushReport> {
  if (json === true) return jsonReport(io);
  if (quiet === true) return quietReport(io);
  return canRedraw(io) ? await terminalReport(io) : plainReport(io);
}

/** The line that shows how far a command is, where options and surroundings let it. */
export async function chooseStatusLine(
  io: Io,
  { json, quiet }: CommonOptions,
): Promise<StatusLine> {
  if (json === true || quiet === true || !canRedraw(io)) return NO_STATUS_LINE;
  return await openStatusLine(io.stderr as NodeJS.WriteStream);
}

/** Returns true if stderr is a terminal on which a line can be redrawn. */
function canRedraw({ stderr, env }: Io): boolean {
  // Serial consoles and test harnesses have terminals without a size: nothing to redraw on.
  const hasRoom = stderr.isTTY === true && (stderr.columns ?? 0) >= MIN_COLUMNS;
  return hasRoom && env["CI"] === undefined && env["TERM"] !== "dumb";
}
