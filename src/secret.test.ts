import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { format, inspect } from "node:util";
import { Secret } from "./secret.ts";

describe("Secret", () => {
  it("shows itself to reveal() only", () => {
    const secret = new Secret("hush");
    assert.equal(secret.reveal(), "hush");
    const shown = [
      String(secret),
      JSON.stringify({ secret }),
      inspect({ secret }, { showHidden: true, depth: 9 }),
      format("%s %o %j", secret, secret, secret),
    ].join("\n");
    assert.doesNotMatch(shown, /hush/);
    assert.match(shown, /<secret>/);
  });
});
