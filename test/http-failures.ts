import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";

import type { Cache } from "../src/cache/contract.ts";
import { HandpickError } from "../src/error.ts";
import { hashPartOf, type HashPart } from "../src/nix/store-path.ts";
import type { Exchange, FaultProxy, Handler, ProxiedRequest } from "./faults/fault-proxy.ts";
import { passOn, startFaultProxy } from "./faults/fault-proxy.ts";
import {
  answering,
  answeringAfter,
  closing,
  cutBefore,
  half,
  html,
  htmlAfter,
  late,
  lose,
  PAGE,
  problem,
  silent,
  untyped,
} from "./faults/faults.ts";
import { sampleUpload } from "./sample-upload.ts";
import type { SampleOptions, SampleUpload } from "./sample-upload.ts";

/** The server of a kind of cache, for clients that a proxy stands before. */
export interface FailureRig extends AsyncDisposable {
  /** Base URL of the server. */
  readonly target: string;
  /** Opens the cache behind the proxy: its clock never waits, and its timeouts are {@link TIMEOUTS}. */
  open(proxyUrl: string): Cache | Promise<Cache>;
  isServed(hashPart: HashPart): Promise<boolean>;
  /** Texts that no message may contain. */
  readonly secrets: readonly string[];
  readonly keepsHost?: boolean;
  /** A second server that the first one sends clients to. */
  readonly storage?: { readonly target: string; readonly use: (proxyUrl: string) => void };
}

export interface FailureOptions {
  /** The backend, for the titles. */
  readonly name: string;
  readonly setup: () => Promise<FailureRig>;
  /** Why it cannot run here. @default {false} */
  readonly skip?: string | false;
  /** How the path is made that is uploaded. @default {one part} */
  readonly sample?: Pick<SampleOptions, "parts">;
  /** True for requests with which failures begin. @default {all} */
  readonly isStart?: (request: ProxiedRequest) => boolean;
  /** True for requests that cannot be sent again, as their body is gone. @default {none is} */
  readonly isOnce?: (request: ProxiedRequest) => boolean;
  /** True for requests where the server itself has no more to say than that it is done. @default {none is} */
  readonly isBelieved?: (request: ProxiedRequest) => boolean;
}

/** For a server on the same machine, which answers at once or never. */
export const TIMEOUTS = { idleMs: 300, answerMs: 300, totalMs: 3_000 } as const;

interface Row {
  readonly name: string;
  readonly play: Handler;
  /** The methods of requests that it makes sense for. @default {all} */
  readonly methods?: readonly string[];
}

const status =
  (code: number): Handler =>
  async (exchange) =>
    answering(code)(exchange);

const to = (code: number): Handler => answering(code, { location: "http://127.0.0.1:9/login" });

const gzipped: Handler = answeringAfter(({ body, headers, ...answer }) =>
  body.length === 0
    ? { ...answer, body, headers }
    : { ...answer, body: gzipSync(body), headers: { ...headers, "content-encoding": "gzip" } },
);

/** An answer that somebody cut short, and that is whole by its own account. */
const truncated: Handler = answeringAfter(({ body, ...answer }) => ({
  ...answer,
  body: body.subarray(0, Math.floor(body.length / 2)),
}));

const bytewise: Handler = async (exchange) => exchange.trickle(await exchange.pass());

/** A server whose clock is a year ahead. */
const skewed: Handler = answeringAfter(({ headers, ...answer }) => ({
  ...answer,
  headers: { ...headers, date: new Date(Date.now() + 365 * 86_400_000).toUTCString() },
}));

/** Something that happens once: everything gets there all the same. */
const PASSING: readonly Row[] = [
  { name: "408", play: status(408) },
  { name: "429, Retry-After", play: answering(429, { "retry-after": "1" }) },
  { name: "500", play: status(500) },
  { name: "502, a page", play: html(502) },
  { name: "503, a problem document", play: problem },
  { name: "504", play: status(504) },
  { name: "520, a page", play: html(520) },
  { name: "done, and 524, a page", play: htmlAfter(524) },
  { name: "cut before the answer", play: cutBefore },
  { name: "cut in the head", play: (exchange) => exchange.sendPartOfHead() },
  { name: "cut after it was done", play: lose },
  { name: "cut in the answer", play: half },
  { name: "silence", play: silent },
  { name: "byte by byte, and never the last", play: bytewise },
  { name: "late", play: late },
  { name: "a clock that is a year ahead", play: skewed },
  { name: "a connection that is soon closed", play: closing },
  { name: "no content type", play: untyped },
  { name: "gzip", play: gzipped },
  { name: "201", play: success(201), methods: ["PUT"] },
  { name: "204", play: success(204), methods: ["PUT"] },
];

/** An answer of success that is none, or not of this server. */
const FALSE: readonly Row[] = [
  { name: "a login page", play: html(200) },
  { name: "a login page after it was done", play: htmlAfter(200) },
  { name: "nothing with 200", play: status(200) },
  { name: "another format", play: answering(200, { "content-type": "application/json" }, '{"a":') },
  {
    name: "a page that says it is gzip",
    play: answering(200, { "content-encoding": "gzip" }, PAGE),
  },
  { name: "an answer without end", play: answering(200, {}, "x".repeat(2_000_000)) },
  { name: "half an answer that looks whole", play: truncated },
];

/** Something that goes on: it is told, and what it stopped gets there once it is over. */
const LASTING: readonly Row[] = [
  ...[400, 401, 403, 404, 405, 409, 410, 411, 413, 501, 503, 507].map((code) => ({
    name: `${code}`,
    play: status(code),
  })),
  ...[301, 302, 307, 308].map((code) => ({ name: `${code}`, play: to(code) })),
  { name: "403, a page", play: html(403) },
  { name: "cut before the answer", play: cutBefore },
  { name: "cut in the head", play: (exchange) => exchange.sendPartOfHead() },
  { name: "cut after it was done", play: lose },
  { name: "cut in the answer", play: half },
  ...FALSE,
];

/** What HTTP servers do, and what has to become of a path that goes to one. */
export function httpFailures(options: FailureOptions): void {
  const { name, skip = false, isOnce = () => false, isBelieved = () => false } = options;
  describe(`${name} and what HTTP servers do`, { skip }, () => {
    for (const row of PASSING) {
      it(`gets a path there in spite of ${row.name}`, async () => {
        await eachRequest(options, row, async ({ rig, cache, sample, begin }) => {
          const hit = begin(1);
          const outcome = await publish(cache, sample);
          if (outcome !== undefined && hit.some(isOnce)) {
            assertTold(outcome, rig);
            return;
          }
          assert.equal(outcome, undefined);
          assert.equal(await rig.isServed(hashPartOf(sample.storePath)), true);
        });
      });
    }
    for (const [row, times] of [
      ...LASTING.map((row) => [row, Infinity] as const),
      ...FALSE.map((row) => [row, 1] as const),
    ]) {
      const title = `${row.name}${times === 1 ? " that comes once" : ""}`;
      it(`tells of ${title}, and gets the path there afterwards`, async () => {
        await eachRequest(options, row, async ({ rig, cache, sample, begin, end, url }) => {
          const hit = begin(times);
          const outcome = await publish(cache, sample);
          end();
          const hashPart = hashPartOf(sample.storePath);
          if (outcome !== undefined) assertTold(outcome, rig);
          else if (!hit.some(isBelieved)) assert.equal(await rig.isServed(hashPart), true);
          await using again = await rig.open(url);
          assert.equal(await publish(again, sample), undefined);
          assert.equal(await rig.isServed(hashPart), true);
        });
      });
    }
  });
}

interface Case {
  readonly rig: FailureRig;
  readonly url: string;
  /** Newly opened: it remembers nothing. */
  readonly cache: Cache;
  readonly sample: SampleUpload;
  /** Starts the failure with the request of this case, for so many; returns those that it will have met. */
  readonly begin: (times: number) => readonly ProxiedRequest[];
  readonly end: () => void;
}

/** Runs a case for each request that a path takes, with the failure beginning there. */
async function eachRequest(
  { setup, sample: form, isStart = () => true }: FailureOptions,
  row: Row,
  test: (one: Case) => Promise<void>,
): Promise<void> {
  await using rig = await setup();
  const requests: ProxiedRequest[] = [];
  let play: (exchange: Exchange, at: number) => Promise<void> = passOn;
  const before = (target: string): Promise<FaultProxy> =>
    startFaultProxy({
      target,
      keepsHost: rig.keepsHost ?? false,
      handle: async (exchange) => await play(exchange, requests.push(exchange.request) - 1),
    });
  await using proxy = await before(rig.target);
  await using storage = rig.storage && (await before(rig.storage.target));
  if (storage !== undefined) rig.storage?.use(storage.url);
  const { url } = proxy;
  const sampleOf = (place: string, { traits }: Cache): SampleUpload =>
    sampleUpload({
      ...form,
      name: `${row.name} ${place}`.replaceAll(/[^\w-]/g, "-"),
      compression: traits.compressions.has("zstd") ? "zstd" : "none",
    });
  const undisturbed = async (): Promise<readonly ProxiedRequest[]> => {
    await using cache = await rig.open(url);
    assert.equal(await publish(cache, sampleOf("undisturbed", cache)), undefined);
    return [...requests];
  };
  let hits = 0;
  for (const [first, example] of (await undisturbed()).entries()) {
    if (!isStart(example)) continue;
    await using cache = await rig.open(url);
    const start = requests.length + first;
    const begin: Case["begin"] = (times) => {
      const met: ProxiedRequest[] = [];
      play = async (exchange, at) => {
        const isMeant = row.methods?.includes(exchange.request.method) ?? true;
        if (at < start || at >= start + times || !isMeant) return await passOn(exchange);
        hits += 1;
        met.push(exchange.request);
        await row.play(exchange);
      };
      return met;
    };
    const end = (): void => void (play = passOn);
    await test({ rig, url, cache, sample: sampleOf(`${first}`, cache), begin, end });
    end();
  }
  assert.ok(hits > 0, "no request met it");
}

const { signal } = new AbortController();

/** The whole way of one path; returns what it failed with. */
async function publish(cache: Cache, sample: SampleUpload): Promise<unknown> {
  try {
    await cache.info(signal);
    const missing = await cache.missing([hashPartOf(sample.storePath)], signal);
    if (missing.size === 0) return undefined;
    const upload = await cache.beginUpload(sample.request, signal);
    try {
      for (const part of sample.parts) await upload.putPart(part, signal);
      await upload.publish(sample.packed, signal);
    } catch (error) {
      await upload.abort();
      throw error;
    }
    return undefined;
  } catch (error) {
    return error;
  }
}

function assertTold(error: unknown, { secrets }: FailureRig): void {
  assert.ok(error instanceof HandpickError, `${String(error)} is no error for people`);
  assert.match(error.message, /^Cannot /);
  const text = `${error.message} ${error.hint}`;
  for (const secret of secrets) assert.equal(text.includes(secret), false, text);
}

function success(code: number): Handler {
  return answeringAfter((answer) => (answer.status < 300 ? { ...answer, status: code } : answer));
}
