import { formatSize } from "../plan/format-size.ts";
import type { Pruned } from "../prune/carry-out.ts";
import type { GatheredNeeds } from "../prune/gather-needs.ts";
import type { Going, Preview } from "../prune/preview.ts";
import { printable } from "./format.ts";
import type { Paint } from "./painter.ts";

/** More lines tell nobody more; `--json` has all. */
const MOST_SHOWN = 40;

export interface PreviewAbout {
  readonly cache: string;
  readonly keepDays: number;
  readonly selections: GatheredNeeds["selections"];
}

/** What would become of a cache: what stays and why, and what goes. */
export function previewLines(preview: Preview, about: PreviewAbout, paint: Paint): string[] {
  const { decision, going, files, sizeBytes } = preview;
  const { wanted, others, faulty } = decision;
  const days = about.keepDays === 1 ? "1 day" : `${about.keepDays} days`;
  const shown = going.slice(0, MOST_SHOWN);
  const hidden = going.slice(MOST_SHOWN);
  const rest = formatSize(hidden.reduce((total, one) => total + one.sizeBytes, 0));
  return [
    `${printable(about.cache)}: ${wanted.size} wanted, ${others.size} kept besides (younger than ${days}, or needed by such), ${going.length} to remove (${formatSize(sizeBytes)} in ${going.length + files.length} files)`,
    `  kept for: ${printable(about.selections.map(selectionText).join("; "))}`,
    ...faulty.map(
      ({ file, fault }) => `  ${paint("yellow", "kept")}  ${printable(`${file.name}: ${fault}`)}`,
    ),
    ...shown.map((one) => goingLine(one, paint)),
    ...(hidden.length > 0 ? [`  and ${hidden.length} more (${rest}); --json lists all`] : []),
  ];
}

function selectionText({ name, from, picks }: PreviewAbout["selections"][number]): string {
  return `${name} (${picks} ${picks === 1 ? "pick" : "picks"}, ${from})`;
}

function goingLine({ entry, sizeBytes }: Going, paint: Paint): string {
  const size = formatSize(sizeBytes).padStart(12);
  const name = entry.label.replace(/^[0-9a-z]{32}-/, "");
  return `  ${paint("red", "remove")} ${size}  ${printable(name)}`;
}

/** What went, and what did not although it was to. */
export function prunedLines(pruned: Pruned, cache: string): string[] {
  const { entries, files, spared, broken } = pruned;
  const bytes = [...entries.map(({ file }) => file), ...files].reduce(
    (total, { sizeBytes }) => total + sizeBytes,
    0,
  );
  const count = entries.length + files.length;
  return [
    `${printable(cache)}: ${entries.length} removed (${formatSize(bytes)} in ${count} files)`,
    ...(spared.length > 0
      ? [
          `  ${spared.length} kept after all: they are gone, were pushed again, or something that needs them came meanwhile`,
        ]
      : []),
    ...broken.map(
      ({ label }) =>
        `  ${printable(label)} was pushed at the moment when its NAR went: push it again`,
    ),
  ];
}
