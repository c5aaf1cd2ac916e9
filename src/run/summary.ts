/** How a push ended; the last event of `push --json`. */
export interface Summary {
  readonly event: "summary";
  readonly pushed: number;
  readonly present: number;
  readonly upstream: number;
  readonly held: number;
  readonly excluded: number;
  readonly failed: number;
  /** What an interruption left to be pushed by another run. */
  readonly unfinished: number;
  /** Compressed bytes of the paths that were pushed. */
  readonly uploadedBytes: number;
  readonly durationMs: number;
}

/** Counts of two pushes together. */
export function addSummaries(one: Summary, other: Summary): Summary {
  return {
    event: "summary",
    pushed: one.pushed + other.pushed,
    present: one.present + other.present,
    upstream: one.upstream + other.upstream,
    held: one.held + other.held,
    excluded: one.excluded + other.excluded,
    failed: one.failed + other.failed,
    unfinished: one.unfinished + other.unfinished,
    uploadedBytes: one.uploadedBytes + other.uploadedBytes,
    durationMs: one.durationMs + other.durationMs,
  };
}
