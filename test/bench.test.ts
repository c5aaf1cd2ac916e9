import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";

import { boundLine, durationLine, seconds, speedLine } from "../bench/lines.ts";
import { race } from "../bench/race.ts";
import { ROWS } from "../bench/rows.ts";
import { resultOf } from "./handpick.ts";
import { IS_LONG } from "./long.ts";
import { nginxSkip } from "./nginx.ts";
import { tempDir } from "./temp.ts";
import { versitygwFile, whyNoVersitygw } from "./versitygw.ts";

const SCRIPT = fileURLToPath(new URL("../scripts/bench.ts", import.meta.url));
const VERDICTS = new Set(["reached", "**missed**", ""]);
/** Reasons for which a line may be left out on this machine. */
const LEFT_OUT = [
  /^zstd is not installed$/,
  /^\S+ is no tmpfs$/,
  /^this build of Nix knows no s3:\/\/$/,
  ...(nginxSkip() === false ? [] : [/\bnginx\b/]),
  ...(whyNoVersitygw === false ? [] : [/^HANDPICK_TEST_VERSITYGW names no file/]),
];

/** Starts it with folders of its own, to see that nothing is left there. */
function startBench(dir: string, args: readonly string[]): ChildProcessWithoutNullStreams {
  return spawn(process.execPath, [SCRIPT, ...args], {
    env: {
      PATH: process.env["PATH"],
      HOME: join(dir, "home"),
      TMPDIR: join(dir, "tmp"),
      // Else it would build one there.
      HANDPICK_TEST_VERSITYGW: versitygwFile(),
    },
  });
}

function tableOf(document: string): string[][] {
  return document
    .split("\n")
    .filter((line) => line.startsWith("| ") && !line.startsWith("| what") && !/^[| -]+$/.test(line))
    .map((line) => {
      const cells = line.replaceAll("\\|", "¦").split("|").slice(1, -1);
      return cells.map((cell) => cell.trim());
    });
}

/** Each line is measured, or says why it is not. */
function assertMeasured(table: readonly string[][]): void {
  for (const cells of table) {
    assert.equal(cells.length, 8, cells.join(" | "));
    const [, , , measured = ""] = cells;
    const [, reason] = /^not measured: (.+)$/.exec(measured) ?? [];
    if (reason !== undefined)
      assert.ok(
        LEFT_OUT.some((known) => known.test(reason)),
        reason,
      );
    else assert.match(measured, /^(\d+(\.\d+)? × as (fast|long)|\d+(\.\d+)?( m?s| MB)?)$/);
    assert.ok(VERDICTS.has(cells[7] ?? "?"), cells[7]);
  }
}

describe("race()", () => {
  it("takes turns, and leaves out who has run often enough", async () => {
    const ran: string[] = [];
    const contender = (name: string): { name: string; run: () => Promise<number> } => ({
      name,
      run: () => Promise.resolve(ran.push(name)),
    });
    const contenders = [contender("a"), contender("b"), { ...contender("c"), mostRuns: 1 }];
    const times = await race(contenders, { rounds: 3, budgetSeconds: 60, onRun: () => undefined });
    assert.equal(ran.join(""), "abcbaab");
    assert.deepEqual(times, [[1, 5, 6], [2, 4, 7], [3]]);
  });

  it("begins no round after its time", async () => {
    const runs: number[] = [];
    const one = { name: "a", run: () => Promise.resolve(runs.push(1)) };
    await race([one], { rounds: 3, budgetSeconds: 0, onRun: () => undefined });
    assert.equal(runs.length, 1);
  });
});

describe("lines of the table", () => {
  const goal = { what: "a", against: "b" };

  it("compare round by round: the median of the ratios, not the ratio of the medians", () => {
    const line = speedLine({ ...goal, reach: 1 }, [1, 10, 2], [2, 10, 3]);
    assert.equal(line.measured, "1.50 × as fast");
    assert.equal(line.spread, "1.00 to 2.00, 3 runs");
  });

  it("are missed when handpick is slower, takes longer or needs more than it may", () => {
    assert.equal(speedLine({ ...goal, reach: 0.9 }, [10], [8.9]).isReached, false);
    assert.equal(speedLine({ ...goal, reach: 0.9 }, [10], [9.1]).isReached, true);
    assert.equal(durationLine({ ...goal, reach: 1.5 }, [1.6], [1]).isReached, false);
    assert.equal(durationLine({ ...goal, reach: 1.5 }, [1.4], [1]).isReached, true);
    assert.equal(boundLine({ what: "a", reach: 3 }, [2, 2, 4], seconds).isReached, false);
    assert.equal(boundLine({ what: "a", reach: 3 }, [2, 3, 2], seconds).isReached, true);
    assert.equal(speedLine(goal, [1], [1]).isReached, undefined);
  });
});

/** Rows that take a few seconds with tiny sizes, among them one of each sort. */
const QUICK_ROWS = ["pack", "tiny", "file", "nothing", "start"];
const QUICK_SUBJECTS = [
  /^pack many small files/,
  /^push 12 tiny paths$/,
  /^push 12 tiny paths to file:\/\/ in memory$/,
  /^nothing to do, closure of 30 paths$/,
  /^handpick --version$/,
];

describe("npm run bench", () => {
  it("measures the rows that are named, prints their table and writes nothing", async () => {
    await using temp = await tempDir();
    await mkdir(join(temp.dir, "tmp"));
    const only = QUICK_ROWS.flatMap((name) => ["--only", name]);
    const { status, stdout, stderr } = await resultOf(startBench(temp.dir, ["--quick", ...only]));
    assert.equal(status, 0, stderr);
    const table = tableOf(stdout);
    const subjects = table.map(([what = ""]) => what);
    for (const subject of QUICK_SUBJECTS) {
      assert.ok(
        subjects.some((what) => subject.test(what)),
        `${subject} in ${subjects.join("; ")}`,
      );
    }
    assertMeasured(table);
    assert.deepEqual(await readdir(join(temp.dir, "tmp")), []);
  });

  const whyNotAll = IS_LONG ? false : "it takes a minute: set HANDPICK_TEST_LONG";
  it(
    "measures every row and writes the table with where it was measured",
    { skip: whyNotAll },
    async () => {
      await using temp = await tempDir();
      await mkdir(join(temp.dir, "tmp"));
      const file = join(temp.dir, "results.md");
      const { status, stdout, stderr } = await resultOf(
        startBench(temp.dir, ["--quick", "--output", file]),
      );
      assert.equal(status, 0, stderr);
      const document = await readFile(file, "utf8");
      assert.ok(document.includes(stdout), "what is printed is what is written");
      const table = tableOf(document);
      const subjects = table.map(([what = ""]) => what);
      for (const subject of [
        /^pack a few large files, \d+ MB/,
        /^pack many small files/,
        /^push a few large files/,
        /^push many small files/,
        /^push one smaller file/,
        /^push 12 tiny paths, 50 ms/,
        /^push 12 tiny paths$/,
        /^push 12 tiny paths to file:\/\/ in memory$/,
        /^push 12 tiny paths to file:\/\/ on a disk$/,
        /^push several large paths to file:\/\/ on a disk, \d+ MB$/,
        /^push several large paths to http:\/\/ \(nginx\), \d+ MB$/,
        /^push several large paths to s3:\/\/ \(versitygw\), \d+ MB$/,
        /^push several large paths to file:\/\/ on a disk and http:\/\/ \(nginx\) at once/,
        /^push 12 tiny paths to http:\/\/ \(nginx\)$/,
        /^push 12 tiny paths, 50 ms added to every request, to s3:\/\/ \(versitygw\)$/,
        /^push 12 tiny paths to handpick serve$/,
        /^push a few large files to handpick serve, \d+ MB$/,
        /^nothing to do, closure of 30 paths$/,
        /^push, 30 paths present on http:\/\/ \(nginx\), 50 ms a request$/,
        /^push, 30 paths present on s3:\/\/ \(versitygw\), 50 ms a request$/,
        /^peak memory, one path/,
        /^handpick --version$/,
      ]) {
        assert.ok(
          subjects.some((what) => subject.test(what)),
          `${subject} in ${subjects.join("; ")}`,
        );
      }
      assertMeasured(table);
      assert.match(document, /^- \d+ cores, .+ GB of memory$/m);
      assert.match(document, /^- Node \d+\.\d+\.\d+ with zstd \d/m);
      assert.match(document, /^- Nix \d+\.\d+.*, zstd \S+$/m);
      assert.deepEqual(await readdir(join(temp.dir, "tmp")), []);
    },
  );

  it("puts profiles of handpick where it is told to", async () => {
    await using temp = await tempDir();
    await mkdir(join(temp.dir, "tmp"));
    const profiles = join(temp.dir, "profiles");
    const { status, stdout, stderr } = await resultOf(
      startBench(temp.dir, ["--quick", "--only", "tiny", "--profile", profiles]),
    );
    assert.equal(status, 0, stderr);
    assert.equal(stdout, "");
    const names = await readdir(profiles);
    assert.ok(names.length > 0 && names.every((name) => name.endsWith(".cpuprofile")));
  });

  it("ends on Ctrl-C and takes everything away", async () => {
    await using temp = await tempDir();
    await mkdir(join(temp.dir, "tmp"));
    const child = startBench(temp.dir, ["--quick"]);
    const ended = once(child, "close") as Promise<[number | null]>;
    const lines = createInterface({ input: child.stderr });
    const measuring = Promise.withResolvers<void>();
    lines.on("line", (line) => {
      if (line.startsWith("pack ")) measuring.resolve();
    });
    await Promise.race([measuring.promise, ended]);
    child.kill("SIGINT");
    assert.deepEqual((await ended)[0], 130);
    assert.deepEqual(await readdir(join(temp.dir, "tmp")), []);
  });

  it("names the rows when asked for one that is not there", async () => {
    await using temp = await tempDir();
    const { status, stderr } = await resultOf(startBench(temp.dir, ["--only", "nonsense"]));
    assert.equal(status, 1);
    assert.match(stderr, /"nonsense"/);
    for (const { name } of ROWS) assert.ok(stderr.includes(name), name);
  });
});
