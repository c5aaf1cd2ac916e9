import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { LentPieces } from "./lent-pieces.ts";

const A = Buffer.from("a");
const B = Buffer.from("b");

describe("LentPieces", () => {
  it("lends a piece until the reader asks for more", async () => {
    const pieces = new LentPieces();
    let isTaken = false;
    const lent = pieces.lend(A).then(() => (isTaken = true));
    const reader = pieces.read();
    assert.equal((await reader.next()).value, A);
    assert.deepEqual([isTaken, pieces.isBegun], [false, false]);
    const next = reader.next();
    await lent;
    assert.equal(pieces.isBegun, true);
    void pieces.lend(B);
    assert.equal((await next).value, B);
    pieces.end();
    assert.equal((await reader.next()).done, true);
  });

  it("leaves the piece of a reader that ends to the next one", async () => {
    const pieces = new LentPieces();
    const lent = pieces.lend(A);
    const first = pieces.read();
    await first.next();
    await first.return();
    const second = pieces.read();
    assert.equal((await second.next()).value, A);
    pieces.end();
    assert.equal((await second.next()).done, true);
    await lent;
  });

  it("ends a reader that waits, and one that had the last piece when it was ended", async () => {
    const waiting = new LentPieces();
    const next = waiting.read().next();
    waiting.end();
    assert.equal((await next).done, true);
  });
});
