import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";
import { zstdCompressSync } from "node:zlib";

import { encodeBase32 } from "../../src/nix/base32.ts";
import type { NixRecord } from "../crash/cache-check.ts";
import { CLOSING } from "./effects.ts";
import { hashPartOf } from "./evidence.ts";
import type { CacheEvidence, Evidence, PublishedPath } from "./evidence.ts";
import type { LoggedRequest } from "./fault-player.ts";
import { UNPICKED_MARK } from "./machine.ts";
import { CHECKS } from "./play.ts";
import type { Ended } from "./run-program.ts";

const LIB = storePath("l", "lib");
const APP = storePath("a", "app");
const ALIEN = storePath("x", "alien");
const TOKEN = "tk-0123456789";

type Change = (evidence: Evidence) => Evidence;

/** For each check, what it has to notice. */
const PLANTED: Readonly<Record<string, Readonly<Record<string, Change>>>> = {
  closureIsVisible: {
    "a hole": withCache({ published: published([APP]), isVisible: sees(APP) }),
  },
  bytesAreRecorded: {
    "other bytes": withCache({ published: new Map([[hashPartOf(LIB), publishedOf(LIB, "worm")]]) }),
    "a path that the store lacks": withCache({ published: published([storePath("z", "none")]) }),
    "a NAR that is not there": withCache({
      published: new Map([[hashPartOf(LIB), { ...publishedOf(LIB, ""), nar: () => undefined }]]),
    }),
  },
  readersGetAll: { "a flaw": withCache({ flaws: ["x.narinfo is no narinfo"] }) },
  nothingElseIsSent: {
    "a name": withLog({ operation: "complete", body: Buffer.from(`{"r":["${baseName(ALIEN)}"]}`) }),
    "a question": withLog({ operation: "missing", body: Buffer.from(`["${hashPartOf(ALIEN)}"]`) }),
    contents: withLog({ operation: "put", body: zstdCompressSync(`nar ${UNPICKED_MARK}`) }),
    "a name in an address": withLog({ operation: "info", target: `/${hashPartOf(ALIEN)}.narinfo` }),
    "a path": withCache({ published: published([LIB, APP, ALIEN]) }),
  },
  uploadsAreEnded: {
    "an upload that is left": dangling([{ operation: "part-url", upload: "n1" }]),
  },
  nothingPublishedIsGivenUp: {
    "an answer that was not waited for": dangling([
      { operation: "complete", upload: "n1", status: () => undefined },
      { operation: "abort", upload: "n1", at: 1 },
    ]),
  },
  protocolIsKept: { "a violation": withCache({ violations: ["put: no length"] }) },
  endsInTime: {
    "a hang": withEnd({ hung: true, signal: "SIGKILL", status: undefined }),
    deafness: (evidence) => ({ ...evidence, signals: ["SIGTERM"], signalledMs: 20_000 }),
  },
  exitCodeFits: {
    "a code that there is not": withEnd({ status: 2 }),
    "an interruption by nobody": withEnd({ status: 130 }),
    "a refusal by nobody": withEnd({ status: 3 }),
    "a failure for nothing": withEnd({ status: 1 }),
    "an interruption that is not caught": (evidence) => ({
      ...withEnd({ status: undefined, signal: "SIGTERM", stdout: "" })(evidence),
      signals: ["SIGTERM"],
    }),
    "a crash": withEnd({ status: undefined, signal: "SIGSEGV" }),
    "a success that is none": (evidence) => ({
      ...withCache({ isVisible: sees(LIB) })(evidence),
      step: { command: "push", faults: [] },
    }),
  },
  outputIsClean: {
    "a stack": withEnd({ stderr: "Error: no\n    at main (/x/dist/handpick.js:3:14)\n" }),
    "an unexpected error": withEnd({ stderr: "handpick: no [UNEXPECTED]\n" }),
    "a warning of Node": withEnd({ stderr: "(node:7) MaxListenersExceededWarning: …\n" }),
    nothing: withEnd({ stdout: "pushed undefined\n" }),
    "a time that nobody waits": withEnd({ stdout: "next try in 87600 h 0 min\n" }),
    "time that goes backwards": withEnd({ stderr: "failing for -157679996.6 s\n" }),
  },
  pushedIsThere: {
    "a lie": (evidence) => ({
      ...withCache({ isVisible: sees(LIB) })(evidence),
      ended: { ...evidence.ended, stdout: `{"event":"pushed","cache":"one","path":"${APP}"}\n` },
    }),
  },
  ledgerIsTrue: { "a lie": withCache({ isVisible: sees(LIB) }) },
  allIsThere: {
    "a path that stays away": (evidence) => ({
      ...withCache({ isVisible: sees(LIB) })(evidence),
      stage: "heal",
    }),
    "an entry that waits": (evidence) => ({
      ...evidence,
      stage: "heal",
      ledger: [{ cache: "one", path: APP, state: "failing" }],
    }),
    "a failure": (evidence) => ({ ...withEnd({ status: 1 })(evidence), stage: "heal" }),
  },
  doneIsDone: {
    "an upload": (evidence) => ({ ...withLog({ operation: "begin" })(evidence), stage: "again" }),
  },
  pinsAreSetOnce: {
    "a second pin": withCache({
      pins: [
        { name: "top", storePath: APP },
        { name: "top", storePath: APP },
      ],
    }),
  },
  nothingIsLeft: {
    "a temporary file": (evidence) => ({ ...evidence, temporary: ["handpick-exec-1"] }),
    "a temporary file after a signal": (evidence) => ({
      ...evidence,
      signals: ["SIGTERM"],
      temporary: ["handpick-exec-1"],
    }),
    "a temporary folder of a build that no signal ended": (evidence) => ({
      ...evidence,
      temporary: ["nix-build-7-0"],
    }),
    "a mark": (evidence) => ({ ...evidence, spool: ["wanted-home"] }),
    "a program": withEnd({ leftBehind: [{ pid: 7, command: "sleep 9", environment: "" }] }),
  },
  secretsAreKept: {
    "a token that is printed": withEnd({ stderr: `Cannot send ${TOKEN}\n` }),
    "a token in arguments": withEnd({
      sightings: [{ pid: 7, command: `curl ${TOKEN}`, environment: "" }],
    }),
    "a token in an environment": withEnd({
      sightings: [{ pid: 7, command: "xz", environment: `T=${TOKEN}` }],
    }),
    "a token in a file": (evidence) => ({
      ...evidence,
      files: [{ name: "state/ledger.sqlite", bytes: Buffer.from(`\0\xff${TOKEN}\0`, "latin1") }],
    }),
    "a token at an upstream": (evidence) => ({
      ...evidence,
      upstreamLog: [request({ headers: `{"authorization":"Bearer ${TOKEN}"}` })],
    }),
    "a part URL": (evidence) => {
      const planted = withLog({ operation: "put", target: "/b/n1?X-Amz-Signature=k123" })(evidence);
      return { ...planted, ended: { ...planted.ended, stderr: "PUT /b/n1?X-Amz-Signature=k123" } };
    },
  },
};

describe("the checks of a campaign", () => {
  it("find nothing where all is well", () => {
    for (const [name, check] of Object.entries(CHECKS)) assert.deepEqual(check(sound()), [], name);
  });

  it("are all tried with something that they have to find", () => {
    assert.deepEqual(Object.keys(PLANTED).toSorted(), Object.keys(CHECKS).toSorted());
  });

  for (const [name, plants] of Object.entries(PLANTED)) {
    for (const [what, plant] of Object.entries(plants)) {
      it(`notice ${what} (${name})`, () => {
        assert.notDeepEqual(CHECKS[name]?.(plant(sound())), []);
      });
    }
  }

  it("excuse a run for the folder of a build that its signal ended", () => {
    const left = { ...sound(), signals: ["SIGTERM"], temporary: ["nix-build-7-0"] } as const;
    assert.deepEqual(CHECKS["nothingIsLeft"]?.(left), []);
  });

  it("excuse a killed run for uploads that it left", () => {
    const planted = dangling([{ operation: "part-url", upload: "n1" }])(sound());
    assert.deepEqual(CHECKS["uploadsAreEnded"]?.({ ...planted, signals: ["SIGKILL"] }), []);
  });

  it("excuse an upload whose publication went to a closed connection, once all of it is there", () => {
    const fault = { cache: "one", operation: "begin", nth: 1, times: 1, effect: CLOSING } as const;
    const found = (status: number): unknown => {
      const planted = dangling([
        { operation: "begin", fault },
        { operation: "put", upload: "n1", status: () => status },
      ])(sound());
      return CHECKS["uploadsAreEnded"]?.(planted);
    };
    assert.deepEqual(found(200), []);
    assert.deepEqual(found(500), ["one: upload n1 was neither published nor given up"]);
  });
});

/** A sync after which everything is as it should be. */
function sound(): Evidence {
  const paths = [LIB, APP];
  return {
    schedule: {
      kinds: ["cachix"],
      hides: false,
      upstream: false,
      token: "file",
      signs: false,
      heal: "recheck",
      runs: [],
    },
    step: { command: "sync", faults: [] },
    stage: "faults",
    ended: END,
    signals: [],
    signalledMs: undefined,
    caches: [
      {
        name: "one",
        kind: "cachix",
        flaws: [],
        published: published(paths),
        isVisible: sees(...paths),
        open: [],
        pins: [{ name: "top", storePath: APP }],
        violations: [],
        log: [
          request({
            operation: "missing",
            body: Buffer.from(JSON.stringify(paths.map(hashPartOf))),
          }),
        ],
      },
    ],
    upstreamLog: [request({ target: `/${hashPartOf(LIB)}.narinfo` })],
    records: new Map([...paths, ALIEN].map((path) => [hashPartOf(path), recordOf(path)])),
    wanted: new Map([["one", new Set(paths)]]),
    allowed: new Map([["one", new Set(paths)]]),
    ledger: paths.map((path) => ({ cache: "one", path, state: "pushed" })),
    spool: [],
    files: [{ name: "state/notice", bytes: Buffer.from("all is well") }],
    temporary: [],
    secrets: [{ what: "a token", text: TOKEN }],
  };
}

const END: Ended = {
  args: ["sync"],
  status: 0,
  signal: undefined,
  stdout: '{"event":"summary","pushed":2,"durationMs":12}\n',
  stderr: "",
  durationMs: 200,
  hung: false,
  sightings: [{ pid: 6, command: "nix-store --dump", environment: "HOME=/root" }],
  leftBehind: [],
};

function withEnd(change: Partial<Ended>): Change {
  return (evidence) => ({ ...evidence, ended: { ...evidence.ended, ...change } });
}

function withCache(change: Partial<CacheEvidence>): Change {
  return (evidence) => ({
    ...evidence,
    caches: evidence.caches.map((cache) => ({ ...cache, ...change })),
  });
}

function withLog(...requests: Partial<LoggedRequest>[]): Change {
  return withCache({ log: requests.map(request) });
}

/** An upload that is open, and what was asked about it. */
function dangling(requests: readonly Partial<LoggedRequest>[]): Change {
  return withCache({ open: ["n1"], log: requests.map(request) });
}

function request(change: Partial<LoggedRequest>): LoggedRequest {
  const plain = {
    operation: "info",
    target: "/",
    upload: "",
    headers: "{}",
    body: undefined,
  } as const;
  return { ...plain, fault: undefined, status: () => 200, at: 0, ...change };
}

function sees(...paths: readonly string[]): (hashPart: string) => boolean {
  return (hashPart) => paths.some((path) => hashPartOf(path) === hashPart);
}

function published(paths: readonly string[]): Map<string, PublishedPath> {
  return new Map(paths.map((path) => [hashPartOf(path), publishedOf(path, `nar ${path}`)]));
}

function publishedOf(path: string, nar: string): PublishedPath {
  const { narHash, narSize, references } = recordOf(path);
  return { narHash, narSize, references: references.map(baseName), nar: () => Buffer.from(nar) };
}

function recordOf(path: string): NixRecord {
  const nar = `nar ${path}`;
  const narHash = `sha256:${encodeBase32(createHash("sha256").update(nar).digest())}`;
  return { path, narHash, narSize: nar.length, references: path === APP ? [LIB] : [] };
}

function storePath(letter: string, name: string): string {
  return `/nix/store/${letter.repeat(32)}-${name}`;
}

function baseName(path: string): string {
  return path.slice("/nix/store/".length);
}
