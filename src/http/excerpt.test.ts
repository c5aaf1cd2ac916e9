import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { excerpt } from "./excerpt.ts";

describe("excerpt()", () => {
  it("keeps a plain sentence", () => {
    assert.equal(excerpt("The token has no access.\n"), "The token has no access.");
  });

  it("shows no page of HTML", () => {
    const page = "\n<!DOCTYPE html><html><title>502 Bad Gateway</title></html>";
    assert.equal(excerpt(page), "a page of HTML");
  });

  it("shows the code of a storage error, not the signature it repeats", () => {
    const xml =
      '<?xml version="1.0"?><Error><Code>SignatureDoesNotMatch</Code><SignatureProvided>abc</SignatureProvided></Error>';
    assert.equal(excerpt(xml), "SignatureDoesNotMatch");
  });

  it("removes the query of a URL", () => {
    const text = 'expired: "https://host/bucket/nar?X-Amz-Signature=secret&a=b" (old)';
    assert.equal(excerpt(text), 'expired: "https://host/bucket/nar?…" (old)');
  });

  it("replaces control characters and cuts long text", () => {
    assert.equal(excerpt("a\u001b[31mb\u0000\u202ec\r\n\td"), "a [31mb c d");
    assert.equal(excerpt("x".repeat(1000)), `${"x".repeat(200)}…`);
  });

  it("gives one short printable line for any text", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 400 }), (text) => {
        const shown = excerpt(text);
        assert.ok(shown.length <= 201);
        assert.doesNotMatch(shown, /\p{Cc}/u);
      }),
    );
  });
});
