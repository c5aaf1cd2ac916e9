import assert from "node:assert/strict";
import { describe, it } from "node:test";

import type { Verdict } from "../verify/verify-cache.ts";
import { NO_PAINT } from "./painter.ts";
import { verdictLines, verifyNotes } from "./verify-lines.ts";

const SERVED: Verdict = {
  cache: "mine",
  readUrl: "https://cache.example",
  areKeysKnown: true,
  keylessUpstreams: [],
  wantsPassword: false,
  picks: [],
  served: { own: 1, upstream: 1 },
  proved: 0,
  realised: undefined,
  unserved: [],
  holes: [],
  silent: [],
};

describe("verdictLines()", () => {
  it("calls nothing served that Nix did not get", () => {
    const linesOf = (failure: string | undefined): string[] =>
      verdictLines({ ...SERVED, realised: { failure } }, NO_PAINT);
    assert.deepEqual(linesOf(undefined), [
      "mine: served: 1 path from the cache, 1 from upstreams, fetched by Nix",
    ]);
    assert.deepEqual(linesOf("error: wrong hash"), [
      "mine: looks served, but Nix does not get it: 1 path from the cache, 1 from upstreams",
      "  not fetched by Nix: error: wrong hash",
    ]);
  });
});

describe("verifyNotes()", () => {
  it("has nothing to say where all keys are known", () => {
    assert.deepEqual(verifyNotes([SERVED]), []);
  });

  it("says of which servers any signature counted, once each", () => {
    const own = { ...SERVED, areKeysKnown: false };
    const upstream = { ...SERVED, keylessUpstreams: ["https://other.example"] };
    const notes = verifyNotes([own, upstream, upstream]);
    assert.deepEqual(
      notes.map((text) => /^mine: (?:of (\S+) )?any signature counted/.exec(text)?.[1]),
      [undefined, "https://other.example"],
    );
  });
});
