import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { faultOf, FormatError, quote } from "./format-error.ts";

describe("quote()", () => {
  it("bounds what it quotes", () => {
    assert.equal(quote("a".repeat(81)), `"${"a".repeat(80)}…"`);
    assert.equal(quote("a".repeat(80)), `"${"a".repeat(80)}"`);
  });

  it("leaves nothing that a terminal obeys", () => {
    assert.equal(quote('"\n\u001b[2J'), String.raw`"\"\n\u001b[2J"`);
    assert.equal(
      quote("\u009b\u202e\u2028\u{e0001}"),
      String.raw`"\u009b\u202e\u2028\udb40\udc01"`,
    );
    assert.equal(quote("é\u{1f4a9}"), '"é\u{1f4a9}"');
  });
});

describe("faultOf()", () => {
  it("leaves out what was read", () => {
    const error = new FormatError("manifest", "Cannot read manifest: name: expected x");
    assert.equal(faultOf(error), "name: expected x");
    assert.equal(faultOf(new FormatError("nar", "NAR is broken")), "NAR is broken");
  });
});

describe("FormatError", () => {
  it("is a SyntaxError that tells its format and keeps its cause", () => {
    const cause = new Error("below");
    const error = new FormatError("nar", "NAR is broken", { cause });
    assert.ok(error instanceof SyntaxError);
    assert.deepEqual([error.name, error.format, error.cause], ["FormatError", "nar", cause]);
  });
});
