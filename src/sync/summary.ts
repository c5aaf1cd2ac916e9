/** How a push ended; the last event of `push --json`. */
export interface Summary {
  readonly event: "summary";
  readonly pushed: number;
  readonly present: number;
  readonly upstream: number;
  readonly held: number;
  readonly excluded: number;
  readonly failed: number;
  /** Compressed bytes of the paths that were pushed. */
  readonly uploadedBytes: number;
  readonly durationMs: number;
}
