import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { toyInfo } from "../../test/toy-paths.ts";
import type { PathInfo } from "../nix/path-info.ts";
import { isBuiltHere, signedByAny } from "./built-here.ts";

const isFromUpstream = signedByAny(["https://cache.nixos.org", "http://127.0.0.1:8080/nix"]);

const CASES: readonly {
  readonly what: string;
  readonly change: Partial<PathInfo>;
  readonly hasLog?: boolean;
  readonly expected: boolean;
}[] = [
  { what: "Nix built by itself", change: {}, expected: true },
  {
    what: "Nix built by itself and signed",
    change: { signatures: ["builder-1:AA"] },
    expected: true,
  },
  {
    what: "a remote builder built and signed",
    change: { ultimate: false, signatures: ["builder-1:AA"] },
    hasLog: true,
    expected: true,
  },
  { what: "came unsigned from another machine", change: { ultimate: false }, expected: true },
  {
    what: "was fetched from a cache that nobody declared",
    change: { ultimate: false, signatures: ["other.example.org-1:AA"] },
    expected: false,
  },
  {
    what: "was fetched from an upstream, and built here before",
    change: { ultimate: false, signatures: ["me-1:AA", "cache.nixos.org-1:AA"] },
    hasLog: true,
    expected: false,
  },
  {
    what: "has the signature of an upstream with a port",
    change: { signatures: ["127.0.0.1-12:AA"] },
    expected: false,
  },
  {
    what: "has one whose key only begins as that of an upstream",
    change: { signatures: ["cache.nixos.org.example-1:AA"] },
    expected: true,
  },
  {
    what: "has a content address",
    change: { contentAddress: "fixed:r:sha256:1" },
    expected: false,
  },
];

describe("isBuiltHere()", () => {
  for (const { what, change, hasLog = false, expected } of CASES) {
    it(`says ${expected ? "yes" : "no"} for what ${what}`, () => {
      const info = { ...toyInfo("tool", []), ...change };
      assert.equal(isBuiltHere(info, { isFromUpstream, hasLog }), expected);
    });
  }
});
