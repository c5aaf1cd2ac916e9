import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { parseStorePath } from "../nix/store-path.ts";
import type { StorePath } from "../nix/store-path.ts";
import { PushProgress } from "./push-progress.ts";

const MIB = 1 << 20;

const pathOf = (name: string): StorePath => parseStorePath(`/nix/store/${"a".repeat(32)}-${name}`);

/** Progress by a clock that only the test moves. */
class Run {
  nowMs = 0;
  readonly #cache: string;
  readonly progress: PushProgress;

  constructor(cache = "mine", shared?: Run) {
    this.#cache = cache;
    this.progress = shared?.progress ?? new PushProgress(() => this.nowMs);
  }

  start(name: string, narSize: number): void {
    this.progress.update({ event: "start", cache: this.#cache, path: pathOf(name), narSize });
  }

  sent(name: string, bytes: { readonly sentBytes: number; readonly narBytes: number }): void {
    this.progress.update({ event: "sent", cache: this.#cache, path: pathOf(name), ...bytes });
  }

  pushed(name: string): void {
    const sizes = { narSize: 1, fileSize: 1, compression: "zstd", durationMs: 1 };
    this.progress.update({ event: "pushed", cache: this.#cache, path: pathOf(name), ...sizes });
  }

  failed(name: string): void {
    const error = { code: "UNEXPECTED", message: "oops" } as const;
    this.progress.update({ event: "failed", cache: this.#cache, path: pathOf(name), error });
  }

  held(name: string): void {
    const reason = { code: "reference-failed", text: "needs it" } as const;
    this.progress.update({ event: "held", cache: this.#cache, path: pathOf(name), reason });
  }

  line(columns?: number): string | undefined {
    return this.progress.line(columns);
  }
}

describe("PushProgress", () => {
  it("moves while one large path is under way", () => {
    const run = new Run();
    assert.equal(run.line(), undefined);
    run.progress.expect(1, 300 * MIB);
    run.start("disk.img", 300 * MIB);
    const lines = [run.line()];
    for (const [nowMs, sentMib, narMib] of [
      [1_000, 40, 75],
      [2_000, 80, 150],
      [4_000, 160, 300],
    ] as const) {
      run.nowMs = nowMs;
      run.sent("disk.img", { sentBytes: sentMib * MIB, narBytes: narMib * MIB });
      lines.push(run.line());
    }
    assert.deepEqual(lines, [
      "  0% [0/1] 1 uploading, 300.0 MiB left, 0 B/s  disk.img",
      " 24% [0/1] 1 uploading, 225.0 MiB left, 40.0 MiB/s  disk.img",
      " 49% [0/1] 1 uploading, 150.0 MiB left, 40.0 MiB/s, 2.0 s  disk.img",
      " 99% [0/1] 1 uploading, 0 B left, 40.0 MiB/s, 0.0 s  disk.img",
    ]);
    run.pushed("disk.img");
    assert.equal(run.line(), undefined);
  });

  it("estimates sanely when many tiny paths go with few large ones", () => {
    const run = new Run();
    // The tiny ones are worth 100 MiB in all, the large ones 400.
    run.progress.expect(400, 398 * 2048 + 400 * MIB);
    for (const name of ["large-1", "large-2"]) run.start(name, 200 * MIB);
    for (let index = 0; index < 199; index += 1) {
      run.start(`tiny-${index}`, 2048);
      run.sent(`tiny-${index}`, { sentBytes: 1024, narBytes: 2048 });
      run.pushed(`tiny-${index}`);
    }
    run.nowMs = 2_000;
    assert.equal(
      run.line(),
      " 10% [199/400] 2 uploading, 400.4 MiB left, 99.5 KiB/s, 18 s  large-1",
    );
    run.nowMs = 5_000;
    run.sent("large-1", { sentBytes: 100 * MIB, narBytes: 200 * MIB });
    assert.equal(
      run.line(),
      " 49% [199/400] 2 uploading, 200.4 MiB left, 20.0 MiB/s, 5.0 s  large-1",
    );
  });

  it("names no time before two seconds and two percent", () => {
    const run = new Run();
    run.progress.expect(1, 100 * MIB);
    run.start("a", 100 * MIB);
    run.nowMs = 1_999;
    run.sent("a", { sentBytes: 0, narBytes: 50 * MIB });
    assert.match(run.line() ?? "", /0 B\/s {2}a$/);
    run.nowMs = 2_000;
    assert.match(run.line() ?? "", /0 B\/s, 2\.0 s {2}a$/);

    const slow = new Run();
    slow.progress.expect(1, 100 * MIB);
    slow.start("a", 100 * MIB);
    slow.nowMs = 60_000;
    slow.sent("a", { sentBytes: 0, narBytes: 2 * MIB });
    assert.match(slow.line() ?? "", /^ {2}1% .*0 B\/s {2}a$/);
  });

  it("counts each cache for itself, and paths that failed or are held as over", () => {
    const run = new Run();
    const other = new Run("other", run);
    run.progress.expect(3, 12 * MIB);
    run.progress.expect(1, 4 * MIB);
    for (const name of ["a", "b", "c"]) run.start(name, 4 * MIB);
    other.start("a", 4 * MIB);
    run.nowMs = 1_000;
    run.sent("a", { sentBytes: MIB, narBytes: 4 * MIB });
    run.pushed("a");
    run.failed("b");
    run.held("c");
    assert.equal(run.line(), " 75% [3/4] 1 uploading, 4.0 MiB left, 1.0 MiB/s  a");
    other.failed("a");
    assert.equal(run.line(), undefined);
  });

  it("never shows more than was expected, whatever a store recorded", () => {
    const run = new Run();
    run.progress.expect(2, MIB);
    run.start("longer", MIB);
    run.start("unknown", 0);
    run.sent("longer", { sentBytes: MIB, narBytes: 9 * MIB });
    run.sent("unknown", { sentBytes: MIB, narBytes: 9 * MIB });
    run.nowMs = 1_000;
    assert.equal(run.line(), " 66% [0/2] 2 uploading, 0 B left, 2.0 MiB/s  longer");
  });

  it("shortens the name first and keeps to the columns it is given", () => {
    const run = new Run();
    run.progress.expect(1, MIB);
    run.start("ghc-9.10.2-with-packages", MIB);
    const status = "  0% [0/1] 1 uploading, 1.0 MiB left, 0 B/s";
    assert.equal(run.line(69), `${status}  ghc-9.10.2-with-packages`);
    assert.equal(run.line(68), `${status}  ghc-9.10.2-with-packag…`);
    assert.equal(run.line(53), `${status}  ghc-9.1…`);
    assert.equal(run.line(52), status);
    assert.equal(run.line(43), status);
    assert.equal(run.line(30), "  0% [0/1] 1 uploading, 1.0 M…");
    for (let columns = 1; columns < 80; columns += 1) {
      assert.ok((run.line(columns) ?? "").length <= columns);
    }
  });
});
