import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { describe, it } from "node:test";

import { parseStorePath } from "../nix/store-path.ts";
import type { StorePath } from "../nix/store-path.ts";
import type { RunEvent } from "../run/events.ts";
import { formatSize } from "../plan/format-size.ts";
import { formatDuration, printable } from "./format.ts";
import { pushLines, summaryLine } from "./push-lines.ts";
import { jsonReport, plainReport, quietReport, terminalReport } from "./push-report.ts";
import type { PushReport } from "./push-report.ts";
import { reasonWithText } from "../plan/reason-text.ts";

const path = (name: string): StorePath => parseStorePath(`/nix/store/${"a".repeat(32)}-${name}`);
const MIB = 1 << 20;

const EVENTS = {
  plan: {
    event: "plan",
    cache: "mine",
    selected: 412,
    push: 3,
    pushBytes: 6 * MIB,
    present: 400,
    upstream: 5,
    held: 1,
    excluded: 3,
  },
  start: { event: "start", cache: "mine", path: path("firefox-141.0"), narSize: 4 * MIB },
  sent: {
    event: "sent",
    cache: "mine",
    path: path("firefox-141.0"),
    sentBytes: MIB,
    narBytes: 3 * MIB,
  },
  pushed: {
    event: "pushed",
    cache: "mine",
    path: path("ripgrep-14.1.1"),
    narSize: 6 * MIB,
    fileSize: 2 * MIB,
    compression: "zstd",
    durationMs: 1_900,
  },
  failed: {
    event: "failed",
    cache: "mine",
    path: path("zoom-5.12.9"),
    error: { code: "UPLOAD_REJECTED", message: "expected 201, received 413", hint: "Ask them." },
  },
  held: {
    event: "held",
    cache: "mine",
    path: path("user"),
    reason: { code: "reference-failed", because: { path: path("zoom-5.12.9"), state: "hides" } },
  },
  excluded: {
    event: "excluded",
    cache: "mine",
    path: path("src-source"),
    reason: { code: "exclude-rule", rule: "*-source" },
  },
  pinned: { event: "pinned", cache: "mine", name: "editor", path: path("ripgrep-14.1.1") },
  pinFailed: {
    event: "pin-failed",
    cache: "mine",
    name: "editor",
    path: path("ripgrep-14.1.1"),
    error: { code: "CACHE_UNAVAILABLE", message: "status 503" },
  },
  summary: {
    event: "summary",
    pushed: 1,
    present: 400,
    upstream: 5,
    held: 1,
    excluded: 3,
    failed: 1,
    unfinished: 0,
    uploadedBytes: 2 * MIB,
    durationMs: 65_000,
  },
} as const satisfies Record<string, RunEvent>;

interface Screen {
  readonly streams: {
    readonly stdout: PassThrough;
    readonly stderr: PassThrough & { readonly columns: number };
  };
  readonly out: () => string;
  readonly err: () => string;
}

function screen(columns = 100): Screen {
  const stderr = Object.assign(new PassThrough(), { columns });
  const streams = { stdout: new PassThrough(), stderr };
  const read = (stream: PassThrough): string => String(stream.read() ?? "");
  return { streams, out: () => read(streams.stdout), err: () => read(streams.stderr) };
}

function showAll(report: PushReport): void {
  for (const event of Object.values(EVENTS)) report.show(event);
  report.end();
}

const LINES = [
  "mine: 412 selected, 3 to push (6.0 MiB), 400 already there, 5 upstream, 1 held, 3 excluded",
  "✓ ripgrep-14.1.1                      2.0 MiB  zstd 3.0x     1.9 s",
  "✗ zoom-5.12.9                      UPLOAD_REJECTED: expected 201, received 413",
  "  Ask them.",
  "- user                             held: is stored, but hidden until /nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-zoom-5.12.9 is pushed",
  '- src-source                       excluded: by rule "*-source"',
  "✓ ripgrep-14.1.1                   pinned as editor",
  "✗ ripgrep-14.1.1                   pin editor: CACHE_UNAVAILABLE: status 503",
];
const SUMMARY =
  "1 pushed (2.0 MiB), 400 already there, 5 upstream, 1 held, 3 excluded, 1 failed in 1 min 5 s";

describe("formatSize() and formatDuration()", () => {
  it("use binary units and the coarsest useful time", () => {
    assert.deepEqual([0, 1023, 1024, 1.5 * MIB, 5 * 2 ** 40, 3000 * 2 ** 40].map(formatSize), [
      "0 B",
      "1023 B",
      "1.0 KiB",
      "1.5 MiB",
      "5.0 TiB",
      "3000.0 TiB",
    ]);
    assert.deepEqual([40, 9_949, 36_000, 250_000, 7_500_000].map(formatDuration), [
      "0.0 s",
      "9.9 s",
      "36 s",
      "4 min 10 s",
      "2 h 5 min",
    ]);
  });
});

describe("printable()", () => {
  it("drops what steers a terminal and keeps lines", () => {
    assert.equal(printable("\u001b[31mred\u0007\r\nnext\u009b1m é"), "[31mred\nnext1m é");
    assert.equal(printable("a\u202eb\u2028c\u{e0001}"), "abc");
  });
});

describe("plainReport()", () => {
  it("prints what stays on stderr and the summary on stdout, without colours", () => {
    const { streams, out, err } = screen();
    showAll(plainReport(streams));
    assert.deepEqual(err().trimEnd().split("\n"), LINES);
    assert.equal(out(), `${SUMMARY}\n`);
  });

  it("names the cache in the line of a path once there are several", () => {
    const { streams, err } = screen();
    const report = plainReport(streams);
    const { plan, pushed, failed, held, excluded, pinned, pinFailed } = EVENTS;
    for (const event of [plan, { ...plan, cache: "other" }]) report.show(event);
    err();
    for (const event of [pushed, failed, held, excluded, pinned, pinFailed]) report.show(event);
    const lines = err().split("\n");
    assert.equal(lines[0], `${LINES[1]}  mine`);
    for (const [at, words] of [
      [1, "mine: UPLOAD_REJECTED: "],
      [3, "mine: held: "],
      [4, "mine: excluded: "],
      [5, "mine: pinned as editor"],
      [6, "mine: pin editor: "],
    ] as const)
      assert.match(lines[at] ?? "", new RegExp(`^. [^ ]+ +${words}`));
  });

  it("adds a status every ten seconds at most, and only if it changed", () => {
    const { streams, err } = screen();
    let nowMs = 0;
    const report = plainReport(streams, () => nowMs);
    report.show(EVENTS.plan);
    report.show(EVENTS.start);
    nowMs = 9_000;
    report.show(EVENTS.sent);
    assert.equal(err().split("\n").length, 2);
    nowMs = 10_000;
    report.show({ ...EVENTS.sent, sentBytes: 2 * MIB });
    assert.equal(err(), "44% [0/3] 1 uploading, 3.0 MiB left, 204.8 KiB/s, 13 s  firefox-141.0\n");
    report.show({ event: "note", text: "mine: trying again in 2 s" });
    assert.equal(err(), "mine: trying again in 2 s\n");
  });
});

describe("quietReport()", () => {
  it("prints failures only", () => {
    const { streams, out, err } = screen();
    const report = quietReport(streams);
    report.show({ event: "note", text: "nothing to worry about" });
    showAll(report);
    assert.deepEqual(err().trimEnd().split("\n"), [LINES[2], LINES[3], LINES[7]]);
    assert.equal(out(), "");
  });

  it("prints an error that retries repeat once, and again after a cache answered", () => {
    const { streams, err } = screen();
    const report = quietReport(streams);
    const down = { event: "note", level: "error", text: "mine: it is down" } as const;
    for (const event of [down, down, EVENTS.plan, down, down]) report.show(event);
    assert.equal(err(), "mine: it is down\nmine: it is down\n");
  });
});

describe("jsonReport()", () => {
  it("prints every event as a line of JSON on stdout", () => {
    const { streams, out, err } = screen();
    const report = jsonReport(streams);
    report.show({ event: "note", text: "careful" });
    showAll(report);
    const lines = out()
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as unknown);
    const told = Object.values(EVENTS).map((event: RunEvent) =>
      "reason" in event ? { ...event, reason: reasonWithText(event.reason) } : event,
    );
    assert.deepEqual(lines, [{ event: "note", text: "careful" }, ...told]);
    assert.equal(err(), "");
  });
});

/** The sequence by which log-update erases a status line. */
const ERASE_STATUS = "\u001b[2K\u001b[1A\u001b[2K\u001b[G";

describe("terminalReport()", () => {
  it("keeps finished lines, redraws the last one and leaves a clean screen", async ({ mock }) => {
    mock.timers.enable({ apis: ["setInterval"] });
    const { streams, out, err } = screen();
    const report = await terminalReport(streams);
    report.show(EVENTS.plan);
    report.show(EVENTS.start);
    mock.timers.tick(100);
    assert.equal(
      err(),
      `${LINES[0]}\n⠙   0% [0/3] 1 uploading, 6.0 MiB left, 0 B/s  firefox-141.0\n`,
    );
    report.show({ event: "note", text: "careful" });
    report.show(EVENTS.pushed);
    report.show(EVENTS.summary);
    report.end();
    assert.equal(err(), `${ERASE_STATUS}careful\n${LINES[1]}\n`);
    assert.equal(out(), `${SUMMARY}\n`);
  });

  it("cuts the status line to the width of the terminal", async ({ mock }) => {
    mock.timers.enable({ apis: ["setInterval"] });
    const { streams, err } = screen(30);
    const report = await terminalReport(streams);
    report.show(EVENTS.start);
    mock.timers.tick(100);
    assert.equal(err(), "⠙   0% [0/0] 1 uploading, 0 B…\n");
    report.end();
  });

  it("erases the status line when the run ends early, and redraws it no more", async ({ mock }) => {
    mock.timers.enable({ apis: ["setInterval"] });
    const { streams, err } = screen();
    const report = await terminalReport(streams);
    report.show(EVENTS.start);
    mock.timers.tick(100);
    assert.ok(err().includes("1 uploading"));
    report.end();
    mock.timers.tick(1_000);
    assert.equal(err(), ERASE_STATUS);
  });

  it("erases the status line as soon as it is interrupted", async ({ mock }) => {
    mock.timers.enable({ apis: ["setInterval"] });
    const { streams, err } = screen();
    const interrupted = new AbortController();
    const report = await terminalReport({ ...streams, signal: interrupted.signal });
    report.show(EVENTS.start);
    mock.timers.tick(100);
    assert.ok(err().includes("1 uploading"));
    interrupted.abort();
    mock.timers.tick(1_000);
    assert.equal(err(), ERASE_STATUS);
    report.end();
    assert.equal(err(), "");
  });
});

describe("pushLines()", () => {
  it("says when there is nothing to push", () => {
    const idle = { ...EVENTS.plan, push: 0, pushBytes: 0, upstream: 0, held: 0, excluded: 0 };
    const [line] = pushLines(idle, (_, text) => text);
    assert.equal(line, "mine: 412 selected, nothing to push, 400 already there");
    const none = { ...EVENTS.summary, pushed: 0, upstream: 0, held: 0, excluded: 0, failed: 0 };
    assert.equal(summaryLine({ ...none, durationMs: 40 }), "0 pushed, 400 already there in 0.0 s");
  });

  it("keeps what was pushed within 72 columns for names up to 32 characters", () => {
    const long = {
      ...EVENTS.pushed,
      path: path("x".repeat(32)),
      narSize: 1023 * 12 * MIB,
      fileSize: 1023 * MIB,
      durationMs: 3_599_000,
    };
    const [line = ""] = pushLines(long, (_, text) => text);
    assert.match(line, /^✓ x{32} 1023\.0 MiB {2}zstd 12\.0x 59 min 59 s$/);
    assert.ok(line.length <= 72);
  });
});
