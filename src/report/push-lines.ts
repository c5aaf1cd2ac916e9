import type { RunEvent } from "../run/events.ts";
import type { Failure } from "../error.ts";
import { formatSize } from "../plan/format-size.ts";
import type { Reason } from "../plan/plan.ts";
import { formatDuration, paddedName, printable } from "./format.ts";
import type { Paint } from "./painter.ts";
import { headingLine } from "./heading-line.ts";
import { reasonText } from "../plan/reason-text.ts";

/**
 * Returns {@link pushLines} for the events of one run. Once they are of a second cache, the line of a path
 * names its cache: two caches would get the same line otherwise.
 */
export function linesOfRun(paint: Paint): (event: RunEvent) => string[] {
  const caches = new Set<string>();
  return (event) => {
    if ("cache" in event) caches.add(event.cache);
    return pushLines(event, paint, caches.size > 1);
  };
}

/** The lines that an event leaves for good; none for events that only move the status line. */
export function pushLines(event: RunEvent, paint: Paint, namesCache = false): string[] {
  const cache = namesCache && "cache" in event ? printable(event.cache) : undefined;
  const about = cache === undefined ? "" : `${cache}: `;
  switch (event.event) {
    case "plan":
      return [headingLine(event)];
    case "pushed": {
      const { narSize, fileSize, compression, durationMs } = event;
      const ratio = fileSize === 0 ? "" : ` ${(narSize / fileSize).toFixed(1)}x`;
      const size = formatSize(fileSize).padStart(10);
      const how = `${compression}${ratio}`.padEnd(10);
      return [
        `${paint("green", "✓")} ${paddedName(event.path)} ${size}  ${how} ${formatDuration(durationMs).padStart(8)}${cache === undefined ? "" : `  ${cache}`}`,
      ];
    }
    case "failed":
      return [
        `${paint("red", "✗")} ${paddedName(event.path)} ${about}${failureText(event.error)}`,
        ...hintLines(event.error),
      ];
    case "held":
    case "excluded":
      return [
        `${paint("yellow", "-")} ${paddedName(event.path)} ${about}${event.event}: ${whyText(event.reason)}`,
      ];
    case "pinned":
      return [`${paint("green", "✓")} ${paddedName(event.path)} ${about}pinned as ${event.name}`];
    case "pin-failed":
      return [
        `${paint("red", "✗")} ${paddedName(event.path)} ${about}pin ${event.name}: ${failureText(event.error)}`,
        ...hintLines(event.error),
      ];
    case "rejected":
      return [`${paint("red", "✗")} ${failureLines(event.error).join("\n")}`];
    case "note":
      return [printable(event.text)];
    case "error":
      if (event.error.code === "INTERRUPTED") return []; // the program says so as it ends
      return failureLines(event.error).map((line, at) => (at === 0 ? `handpick: ${line}` : line));
    case "start":
    case "sent":
    case "summary":
      return [];
  }
}

/** How a run ended, in one line. */
export function summaryLine(event: Extract<RunEvent, { event: "summary" }>): string {
  const { pushed, present, upstream, held, excluded, failed, unfinished } = event;
  const counted = Object.entries({ "already there": present, upstream, held, excluded, failed });
  const rest = counted.flatMap(([word, count]) => (count > 0 ? [`${count} ${word}`] : []));
  const size = pushed > 0 ? ` (${formatSize(event.uploadedBytes)})` : "";
  const counts = `${[`${pushed} pushed${size}`, ...rest].join(", ")} in ${formatDuration(event.durationMs)}`;
  return unfinished === 0 ? counts : `${counts}, ${unfinished} not finished, run it again to go on`;
}

/** The reason without the action that stands before it. */
function whyText(reason: Reason): string {
  return printable(reasonText(reason)).replace(/^excluded /, "");
}

/** A failure that is of no path, in lines. */
export function failureLines(failure: Failure): string[] {
  return [`${printable(failure.message)} [${failure.code}]`, ...hintLines(failure)];
}

function failureText({ code, message }: Failure): string {
  return `${code}: ${printable(message)}`;
}

function hintLines({ hint }: Failure): string[] {
  return hint === undefined ? [] : [`  ${printable(hint)}`];
}
