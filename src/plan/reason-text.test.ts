import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { parseStorePath } from "../nix/store-path.ts";
import type { Reason } from "./plan.ts";
import { reasonText } from "./reason-text.ts";

const LIBC = parseStorePath(`/nix/store/${"a".repeat(32)}-libc`);
const LIB = parseStorePath(`/nix/store/${"b".repeat(32)}-lib`);
const RULE = { code: "exclude-rule", rule: "libc" } as const;
const EXCLUDED = { path: LIBC, state: "excluded", reason: RULE } as const;

const CASES: readonly (readonly [Reason, string])[] = [
  [{ code: "missing" }, "missing from the cache"],
  [{ code: "in-cache" }, "already in the cache"],
  [{ code: "in-upstream" }, "already in an upstream"],
  [{ code: "in-upstream", upstream: "https://u.example" }, "already in https://u.example"],
  [RULE, 'excluded by rule "libc"'],
  [{ code: "exclude-pick", rule: "d*", pick: { name: "a" } }, 'excluded by "d*" of pick "a"'],
  [
    { code: "max-nar-size", rule: "max-nar-size", narSize: 2048, limit: 1536 },
    "larger than max-nar-size: 2.0 KiB, the limit is 1.5 KiB",
  ],
  [
    { code: "reference-held", because: EXCLUDED, through: LIB },
    `needs ${LIBC} (through ${LIB}), which is excluded by rule "libc"`,
  ],
  [
    { code: "missing-hole-allowed", because: EXCLUDED },
    `missing from the cache; needs ${LIBC}, which is excluded by rule "libc"`,
  ],
  [
    { code: "reference-outside", because: { path: LIBC, state: "outside" } },
    `needs ${LIBC}, which is neither selected nor in the cache`,
  ],
  [
    { code: "upstream-unreachable", because: { path: LIBC, state: "outside" } },
    `needs ${LIBC}, which is neither selected nor in the cache; an upstream that may have it did not answer`,
  ],
  [
    { code: "upstream-unreachable" },
    "not built here, and an upstream that may have it did not answer",
  ],
  [
    { code: "upstream-unreachable", because: { path: LIBC, state: "unanswered" } },
    `needs ${LIBC}, which is held until an upstream that may have it answers`,
  ],
  [
    { code: "reference-held", because: { path: LIBC, state: "cycle" } },
    `needs ${LIBC}, which is part of a cycle of references`,
  ],
  [
    { code: "reference-failed", because: { path: LIBC, state: "failed" } },
    `needs ${LIBC}, which could not be pushed`,
  ],
  [
    { code: "reference-failed", because: { path: LIBC, state: "later" } },
    `needs ${LIBC}, which is tried again later`,
  ],
  [
    { code: "reference-failed", because: { path: LIBC, state: "hides" } },
    `is stored, but hidden until ${LIBC} is pushed`,
  ],
  [{ code: "reference-held" }, 'nothing is pushed while a path is held, since on-hole = "fail"'],
];

describe("reasonText()", () => {
  for (const [reason, text] of CASES) {
    it(`says ${text.slice(0, 60)}`, () => assert.equal(reasonText(reason), text));
  }
});
