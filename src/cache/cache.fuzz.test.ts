import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { createFakeClock } from "../../test/fakes/clock.ts";
import { assertLinear, FUZZ_RUNS, hostileText, valueOrRefusal } from "../../test/fuzz.ts";
import { parseCachixUrl, parseHost } from "./cachix/cachix-url.ts";
import { etagOf } from "./cachix/storage.ts";
import { excerpt } from "../http/excerpt.ts";
import { retry } from "../http/retry.ts";
import { statusError } from "../http/status-error.ts";

describe("what servers say, fed with anything", () => {
  const bodies = [
    "<html><body>No</body></html>",
    "<Error><Code>AccessDenied</Code></Error>",
    '{"error":"see https://host/?signature=secret"}',
  ];

  it("is shown short, on one line and without what follows a question mark", () => {
    const check = (text: string): void => {
      const shown = excerpt(text);
      assert.ok(shown.length <= 201 && !/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(shown), shown);
      assert.doesNotMatch(shown, /\?[^\s"'<>…]/);
      const response = { action: "try", status: 400, headers: {}, body: Buffer.from(text) };
      assert.ok(statusError(response).message.length < 300);
    };
    fc.assert(fc.property(hostileText(bodies), check), { numRuns: FUZZ_RUNS });
    assertLinear(bodies, excerpt);
  });

  it("delays the next try by 1 to 120 seconds, whatever is asked for", async () => {
    const { signal } = new AbortController();
    const hint = hostileText([
      "120",
      "-1",
      "Mon, 23 Nov 2026 00:00:00 GMT",
      "1e9",
      '{"retry_after":5}',
    ]);
    const problem = fc.json().map((value) => `{"retry_after":${value}}`);
    await fc.assert(
      fc.asyncProperty(fc.oneof(hint, problem), fc.boolean(), async (text, isHeader) => {
        const clock = createFakeClock();
        const delays: number[] = [];
        const headers = isHeader ? { "retry-after": text } : { "content-type": "application/json" };
        const answers = [503, 200].map((status) => {
          return { action: "try", status, headers, body: Buffer.from(isHeader ? "" : text) };
        });
        const [first, last] = answers;
        assert.ok(first !== undefined && last !== undefined);
        await retry(async (tries) => (tries === 0 ? first : last), {
          clock,
          random: () => 0,
          signal,
          onRetry: ({ delayMs }) => delays.push(delayMs),
        });
        assert.equal(delays.length, 1);
        // Half a second is our own choice, where nothing was understood.
        assert.ok(
          delays.every((ms) => ms === 500 || (ms >= 1000 && ms <= 120_000)),
          delays.join(),
        );
      }),
      { numRuns: FUZZ_RUNS },
    );
  });

  it("is an ETag that can be given back, or CACHE_PROTOCOL", () => {
    fc.assert(
      fc.property(hostileText(['"abc"']), (etag) => {
        const response = { action: "try", status: 200, headers: { etag }, body: Buffer.alloc(0) };
        assert.ok(
          [etag, undefined].includes(valueOrRefusal("HandpickError", () => etagOf(response))),
        );
      }),
      { numRuns: FUZZ_RUNS },
    );
  });
});

describe("URLs of caches, fed with anything", () => {
  it("give a name, a web URL without credentials, or a HandpickError", () => {
    fc.assert(
      fc.property(hostileText(["cachix://mine/", "https://user:secret@host/a?b#c"]), (text) => {
        const name = valueOrRefusal("HandpickError", () => parseCachixUrl(text));
        if (name !== undefined) assert.match(name, /^[\w.-]{1,100}$/);
        const host = valueOrRefusal("HandpickError", () => parseHost(text));
        if (host === undefined) return;
        assert.match(host.protocol, /^https?:$/);
        assert.equal(host.username + host.password + host.search + host.hash, "");
      }),
      { numRuns: FUZZ_RUNS },
    );
    assertLinear(["cachix://mine/"], (text) =>
      valueOrRefusal("HandpickError", () => parseCachixUrl(text)),
    );
  });
});
