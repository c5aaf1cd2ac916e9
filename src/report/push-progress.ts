import { performance } from "node:perf_hooks";

import { nameOf } from "../nix/store-path.ts";
import type { StorePath } from "../nix/store-path.ts";
import type { PushEvent } from "../push/events.ts";
import { formatDuration, formatSize } from "./format.ts";

/** Counts what is on its way, for the one status line. */
export class PushProgress {
  readonly #now: () => number;
  readonly #running = new Map<string, { path: StorePath; narSize: number }>();
  #firstMs: number | undefined;
  #sentBytes = 0;
  readonly #sentByPath = new Map<string, number>();
  #total = 0;
  #totalBytes = 0;
  #done = 0;
  #doneBytes = 0;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** More is to be pushed: paths and the sum of their NAR sizes. */
  expect(paths: number, narBytes: number): void {
    this.#total += paths;
    this.#totalBytes += narBytes;
  }

  update(event: PushEvent): void {
    const key = `${event.cache} ${event.path}`;
    if (event.event === "start") {
      this.#firstMs ??= this.#now();
      this.#running.set(key, event);
    } else if (event.event === "sent") {
      this.#sentBytes += event.sentBytes - (this.#sentByPath.get(key) ?? 0);
      this.#sentByPath.set(key, event.sentBytes);
    } else {
      this.#done += 1;
      this.#doneBytes += this.#running.get(key)?.narSize ?? 0;
      this.#running.delete(key);
      this.#sentByPath.delete(key);
    }
  }

  /** ` 62% [23/37] 8 uploading, 1.4 GiB left, 38.0 MiB/s  firefox-141.0`; undefined when idle. */
  line(): string | undefined {
    const largest = [...this.#running.values()].toSorted((a, b) => b.narSize - a.narSize)[0];
    if (largest === undefined || this.#firstMs === undefined) return undefined;
    const percent = Math.floor((100 * this.#done) / Math.max(this.#total, 1));
    const seconds = Math.max((this.#now() - this.#firstMs) / 1000, 0.001);
    const speed = `${formatSize(Math.round(this.#sentBytes / seconds))}/s`;
    const left = Math.max(this.#totalBytes - this.#doneBytes, 0);
    const counts = `[${this.#done}/${this.#total}] ${this.#running.size} uploading`;
    const name = nameOf(largest.path);
    const rest = this.#doneBytes === 0 ? "" : `, ${this.#eta(seconds, left)}`;
    return `${String(percent).padStart(3)}% ${counts}, ${formatSize(left)} left, ${speed}${rest}  ${name}`;
  }

  #eta(seconds: number, leftBytes: number): string {
    return formatDuration((seconds * 1000 * leftBytes) / this.#doneBytes);
  }
}
