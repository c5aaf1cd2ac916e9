import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { createFakeClock } from "../../test/fakes/clock.ts";
import type { FakeClock } from "../../test/fakes/clock.ts";
import { HandpickError } from "../error.ts";
import { systemClock } from "../clock.ts";
import type { HttpResponse } from "./http-message.ts";
import { retry } from "./retry.ts";

type Outcome = Partial<Omit<HttpResponse, "body">> & { readonly body?: string };

const { signal } = new AbortController();

function response({ status = 200, headers = {}, body = "" }: Outcome): HttpResponse {
  return { action: "try it", status, headers, body: Buffer.from(body) };
}

interface Result {
  readonly status: number;
  readonly tries: number;
  readonly clock: FakeClock;
}

/** Retries through `outcomes`, the last of which repeats; errors are thrown. */
async function run(outcomes: readonly (Outcome | Error)[], random = 0): Promise<Result> {
  const clock = createFakeClock();
  let tries = 0;
  const attempt = async (): Promise<HttpResponse> => {
    const outcome = outcomes[Math.min(tries, outcomes.length - 1)] ?? {};
    tries++;
    if (outcome instanceof Error) throw outcome;
    return response(outcome);
  };
  const { status } = await retry(attempt, { clock, random: () => random, signal });
  return { status, tries, clock };
}

const NETWORK = new HandpickError("NETWORK", "gone");

describe("retry()", () => {
  it("repeats after 408, 429, 5xx and a failed network", async () => {
    for (const outcome of [
      { status: 408 },
      { status: 429 },
      { status: 500 },
      { status: 524 },
      NETWORK,
    ]) {
      const { status, tries } = await run([outcome, {}]);
      assert.deepEqual({ status, tries }, { status: 200, tries: 2 });
    }
  });

  it("returns any other status at once", async () => {
    for (const status of [200, 204, 302, 400, 401, 403, 404, 409, 413, 422, 501, 507]) {
      const { status: found, tries } = await run([{ status }]);
      assert.deepEqual([found, tries], [status, 1]);
    }
  });

  it("throws any other error at once", async () => {
    const certificate = Object.assign(new Error("no"), { code: "DEPTH_ZERO_SELF_SIGNED_CERT" });
    const untrusted = new HandpickError("NETWORK", "untrusted", { cause: certificate });
    for (const error of [new HandpickError("CACHE_PROTOCOL", "no"), new Error("no"), untrusted]) {
      await assert.rejects(run([error, {}]), error);
    }
  });

  it("waits twice as long each time, up to 15 s, and 90 s in all", async () => {
    const least = await run([{ status: 503 }], 0);
    assert.deepEqual(
      least.clock.sleeps,
      [500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000, 15_000],
    );
    assert.deepEqual([least.status, least.tries], [503, 10]);
    const most = await run([{ status: 503 }], 0.999_999);
    const rounded = most.clock.sleeps.map(Math.round);
    assert.deepEqual(rounded, [1000, 2000, 4000, 8000, 15_000, 15_000, 15_000, 15_000, 15_000]);
  });

  it("throws the last failure of a network that stays down", async () => {
    await assert.rejects(run([NETWORK]), NETWORK);
  });

  it("never waits more than 90 s in all of its own accord", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        async (random) => {
          const { clock } = await run([{ status: 500 }], random);
          const total = clock.sleeps.reduce((sum, ms) => sum + ms, 0);
          assert.ok(total <= 90_000 && total > 70_000);
        },
      ),
      { numRuns: 50 },
    );
  });

  it("bounds the waits without any answer apart, and leaves those after an answer alone", async () => {
    const options = { random: () => 0, signal, offlineMs: 4000 };
    const offline = createFakeClock();
    const down = retry(() => Promise.reject(NETWORK), { ...options, clock: offline });
    await assert.rejects(down, NETWORK);
    assert.deepEqual(offline.sleeps, [500, 1000, 2000]);
    const busy = createFakeClock();
    await retry(async () => response({ status: 503 }), { ...options, clock: busy });
    assert.equal(busy.sleeps.length, 9);
  });

  it("makes no more tries once they have taken five minutes, or as long as it is told", async () => {
    for (const [triesMs, expected] of [
      [undefined, 2],
      [900_000, 5],
    ] as const) {
      for (const failure of [NETWORK, undefined]) {
        const clock = createFakeClock();
        let tries = 0;
        const attempt = async (): Promise<HttpResponse> => {
          tries++;
          clock.advance(180_000);
          if (failure !== undefined) throw failure;
          return response({ status: 524 });
        };
        const outcome = retry(attempt, { clock, random: () => 0, signal, triesMs });
        if (failure === undefined) assert.equal((await outcome).status, 524);
        else await assert.rejects(outcome, failure);
        assert.equal(tries, expected);
      }
    }
  });

  it("tells of each wait before it", async () => {
    const told: unknown[] = [];
    const clock = createFakeClock();
    const attempt = async (tries: number): Promise<HttpResponse> => {
      if (tries === 0) throw NETWORK;
      return response({ status: tries === 1 ? 429 : 200 });
    };
    const onRetry = (notice: unknown): void => void told.push(notice, clock.sleeps.length);
    await retry(attempt, { clock, random: () => 0, signal, onRetry });
    assert.deepEqual(told, [
      { reason: "gone", delayMs: 500 },
      0,
      { reason: "try it: status 429", delayMs: 1000 },
      1,
    ]);
  });

  it("stops waiting when the signal is aborted", async () => {
    const stop = new AbortController();
    const reason = new Error("stop");
    const options = { clock: systemClock, random: () => 0, signal: stop.signal };
    const pending = retry(async () => response({ status: 500 }), options);
    setImmediate(() => stop.abort(reason));
    await assert.rejects(pending, reason);
  });
});

describe("retry() with a hint of the server", () => {
  const waitAfter = async (outcome: Outcome): Promise<number | undefined> => {
    const { clock } = await run([{ status: 503, ...outcome }, {}]);
    return clock.sleeps[0];
  };
  const header = (value: string): Outcome => ({ headers: { "retry-after": value } });

  it("waits as many seconds as Retry-After says, at most 120", async () => {
    assert.equal(await waitAfter(header("2")), 2000);
    assert.equal(await waitAfter(header("100000")), 120_000);
    assert.equal(await waitAfter({ status: 429, ...header("7") }), 7000);
  });

  it("waits until the date in Retry-After, at most 120 s", async () => {
    assert.equal(await waitAfter(header("Thu, 01 Jan 2026 00:00:03 GMT")), 3000);
    assert.equal(await waitAfter(header("Fri, 02 Jan 2026 00:00:00 GMT")), 120_000);
  });

  it("ignores a hint that is past, not positive or not understood", async () => {
    for (const value of ["0", "-5", "Wed, 31 Dec 2025 00:00:00 GMT", "soon", ""]) {
      assert.equal(await waitAfter(header(value)), 500, value);
    }
  });

  it("reads retry_after of a problem document", async () => {
    const problem = (type: string, body: string): Outcome => ({
      headers: { "content-type": type },
      body,
    });
    const body = '{"title": "busy", "retry_after": 9}';
    assert.equal(await waitAfter(problem("application/problem+json", body)), 9000);
    assert.equal(await waitAfter(problem("application/json; charset=utf-8", body)), 9000);
    assert.equal(await waitAfter(problem("text/html", body)), 500);
    assert.equal(await waitAfter(problem("application/json", "<html>")), 500);
    assert.equal(await waitAfter(problem("application/json", "null")), 500);
    assert.equal(await waitAfter(problem("application/json", '{"retry_after":"x"}')), 500);
    assert.equal(await waitAfter(problem("application/json", '{"retry_after":1e99}')), 120_000);
    assert.equal(await waitAfter(problem("application/json", '{"retry_after":1e-9}')), 1000);
  });

  it("gets no more tries by it", async () => {
    const { tries } = await run([{ status: 503, ...header("120") }]);
    assert.equal(tries, 2);
  });

  it("ignores it where there is nothing to retry", async () => {
    const { clock } = await run([{ status: 400, ...header("2") }]);
    assert.deepEqual(clock.sleeps, []);
  });
});

describe("systemClock", () => {
  it("sleeps for the time given", async () => {
    const before = systemClock.now();
    await systemClock.sleep(5, signal);
    assert.ok(systemClock.now() - before >= 4);
  });

  it("rejects with the reason of the signal", async () => {
    const reason = new Error("stop");
    await assert.rejects(systemClock.sleep(60_000, AbortSignal.abort(reason)), reason);
  });
});
