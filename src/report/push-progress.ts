import { nameOf } from "../nix/store-path.ts";
import type { StorePath } from "../nix/store-path.ts";
import type { PushEvent } from "../push/events.ts";
import { formatSize } from "../plan/format-size.ts";
import { formatDuration } from "./format.ts";

/**
 * Bytes that a path counts besides its NAR. However small, it costs about four round trips, as long as
 * this many bytes take; without it thousands of tiny paths would be nothing beside one large path.
 */
const PATH_WORK_BYTES = 256 << 10;
/** Below either, a guess of the time that is left would be far off. */
const ETA_FROM_MS = 2_000;
const ETA_FROM_SHARE = 0.02;
/** A shorter piece of a name tells nobody which path is meant. */
const MIN_NAME_COLUMNS = 8;

interface Running {
  readonly path: StorePath;
  readonly narSize: number;
  readonly sentBytes: number;
  /** NAR bytes sent, at most `narSize`. */
  readonly narBytes: number;
}

/** Paths and the sum of their NAR bytes. */
interface Amount {
  readonly paths: number;
  readonly narBytes: number;
}

const NOTHING: Amount = { paths: 0, narBytes: 0 };

/** Counts what is on its way, for the one status line. */
export class PushProgress {
  readonly #now: () => number;
  readonly #running = new Map<string, Running>();
  #firstMs: number | undefined;
  #expected = NOTHING;
  #ended = NOTHING;
  #sentBytes = 0;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** More is to be pushed: paths and the sum of their NAR sizes. */
  expect(paths: number, narBytes: number): void {
    this.#expected = sum(this.#expected, { paths, narBytes });
  }

  update(event: PushEvent): void {
    const key = `${event.cache} ${event.path}`;
    if (event.event === "start") {
      const { path, narSize } = event;
      this.#firstMs ??= this.#now();
      this.#running.set(key, { path, narSize, sentBytes: 0, narBytes: 0 });
      return;
    }
    const before = this.#running.get(key);
    if (event.event !== "sent") {
      // Failed or held, too: nothing more is to be done for it.
      this.#ended = sum(this.#ended, { paths: 1, narBytes: before?.narSize ?? 0 });
      this.#running.delete(key);
    } else if (before !== undefined) {
      const { sentBytes } = event;
      this.#sentBytes += sentBytes - before.sentBytes;
      const narBytes = Math.min(event.narBytes, before.narSize);
      this.#running.set(key, { ...before, sentBytes, narBytes });
    }
  }

  /**
   * ` 62% [23/37] 8 uploading, 1.4 GiB left, 38.0 MiB/s, 36 s  firefox-141.0`, no wider than
   * `columns`; undefined when idle.
   */
  line(columns: number = Number.POSITIVE_INFINITY): string | undefined {
    const largest = [...this.#running.values()].toSorted((a, b) => b.narSize - a.narSize)[0];
    if (largest === undefined || this.#firstMs === undefined) return undefined;
    const underWay = [...this.#running.values()].reduce((all, one) => all + one.narBytes, 0);
    const done = sum(this.#ended, { paths: 0, narBytes: underWay });
    const share = Math.min(work(done) / Math.max(work(this.#expected), 1), 1);
    const elapsedMs = Math.max(this.#now() - this.#firstMs, 1);
    const left = Math.max(this.#expected.narBytes - done.narBytes, 0);
    const status = [
      `${String(Math.floor(100 * share)).padStart(3)}% [${done.paths}/${this.#expected.paths}] ${this.#running.size} uploading`,
      `${formatSize(left)} left`,
      `${formatSize(Math.round((this.#sentBytes * 1_000) / elapsedMs))}/s`,
      ...remaining(share, elapsedMs),
    ].join(", ");
    return fit(status, nameOf(largest.path), columns);
  }
}

function sum(a: Amount, b: Amount): Amount {
  return { paths: a.paths + b.paths, narBytes: a.narBytes + b.narBytes };
}

function work({ paths, narBytes }: Amount): number {
  return narBytes + paths * PATH_WORK_BYTES;
}

/** The time that is left, once enough is done to tell. */
function remaining(share: number, elapsedMs: number): string[] {
  if (elapsedMs < ETA_FROM_MS || share < ETA_FROM_SHARE) return [];
  return [formatDuration((elapsedMs * (1 - share)) / share)];
}

/** The name gives way first; a wrapped line could not be redrawn in place. */
function fit(status: string, name: string, columns: number): string {
  const room = columns - status.length - 2;
  if (room < Math.min(name.length, MIN_NAME_COLUMNS)) return cut(status, columns);
  return `${status}  ${cut(name, room)}`;
}

function cut(text: string, columns: number): string {
  return text.length <= columns ? text : `${text.slice(0, Math.max(columns - 1, 0))}…`;
}
