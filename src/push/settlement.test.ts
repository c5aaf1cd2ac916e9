import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { Settlement } from "./settlement.ts";

describe("Settlement", () => {
  it("keeps the first word and tells all that wait", async () => {
    const settlement = new Settlement();
    assert.equal(settlement.value, undefined);
    const waiting = [settlement.next(), settlement.next()];
    settlement.settle(false);
    settlement.settle(true);
    await Promise.all(waiting);
    assert.equal(settlement.value, false);
  });

  it("lets those that wait look again, and wait on", async () => {
    const settlement = new Settlement();
    const first = settlement.next();
    settlement.wake();
    await first;
    assert.equal(settlement.value, undefined);
    const second = settlement.next();
    settlement.settle(true);
    await second;
    assert.equal(settlement.value, true);
  });
});
