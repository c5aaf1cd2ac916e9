import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { type Extent, Extents } from "./extents.ts";

const PAGE = 4096;

/** Takes what has to fit. */
function taken(extents: Extents, bytes: number): Extent {
  return extents.take(bytes) ?? assert.fail("there is no room");
}

describe("Extents", () => {
  it("gives the lowest range that is free and large enough", () => {
    const extents = new Extents(100 * PAGE);
    const [one, two, three] = [taken(extents, 1), taken(extents, 2 * PAGE), taken(extents, PAGE)];
    assert.deepEqual([one.start, two.start, three.start], [0, PAGE, 3 * PAGE]);
    extents.give(one);
    extents.give(two);
    assert.equal(taken(extents, 3 * PAGE).start, 0);
    assert.equal(taken(extents, 1).start, 4 * PAGE);
  });

  it("has no room beyond its limit, nor beyond one that was lowered", () => {
    const extents = new Extents(3 * PAGE);
    const [first] = [taken(extents, PAGE), taken(extents, 2 * PAGE)];
    assert.equal(extents.take(1), undefined);
    extents.give(first);
    extents.lower(PAGE);
    assert.equal(taken(extents, PAGE).start, 0);
    assert.equal(extents.take(1), undefined);
  });

  it("never gives the same place twice, and is as if new when all came back", () => {
    const steps = fc.array(
      fc.record({ bytes: fc.integer({ min: 1, max: 9 * PAGE }), at: fc.nat() }),
    );
    fc.assert(
      fc.property(steps, (list) => {
        const extents = new Extents(64 * PAGE);
        const out: Extent[] = [];
        for (const { bytes, at } of list) {
          const extent = extents.take(bytes);
          if (extent === undefined)
            out.splice(at % out.length, 1).forEach((one) => extents.give(one));
          else out.push(extent);
          const sorted = out.toSorted((a, b) => a.start - b.start);
          for (const [index, one] of sorted.entries()) {
            const next = sorted[index + 1]?.start ?? 64 * PAGE;
            assert.ok(one.start + one.sizeBytes <= next);
          }
        }
        for (const one of out) extents.give(one);
        assert.equal(taken(extents, 64 * PAGE).start, 0);
      }),
    );
  });
});
