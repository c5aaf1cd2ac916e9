import assert from "node:assert/strict";
import { describe, it } from "node:test";

import type { HttpResponse } from "./http-message.ts";
import { statusError } from "./status-error.ts";

const answer = (status: number, type: string, text: string): HttpResponse => ({
  action: "do it",
  status,
  headers: { "content-type": type },
  body: Buffer.from(text),
});

describe("statusError()", () => {
  it("blames the token for a refusal of the cache, and not for the page of a gateway", () => {
    for (const [type, text] of [
      ["application/json", "{}"],
      ["text/plain", "no"],
      ["application/xml", "<Error/>"],
    ] as const) {
      assert.match(statusError(answer(403, type, text)).hint ?? "", /^Check that the token/);
    }
    for (const [type, text] of [
      ["text/html", "blocked"],
      ["TEXT/HTML; charset=utf-8", ""],
      ["application/xhtml+xml", "<x/>"],
      ["", "\n<!DOCTYPE html><p>"],
      ["text/plain", "<HTML lang=en>"],
    ] as const) {
      for (const status of [401, 403]) {
        const error = statusError(answer(status, type, text));
        assert.equal(error.code, "CACHE_REFUSED");
        assert.match(error.hint ?? "", /^Check which gateway/, type);
      }
    }
  });
});
