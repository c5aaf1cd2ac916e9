import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { stateFolder } from "../state/state-folder.ts";
import { findRisk, findTrouble } from "./find-trouble.ts";

describe("findTrouble()", () => {
  it("takes no file system without any room for a full disk", async () => {
    const folder = stateFolder("/proc/nowhere");
    assert.doesNotMatch((await findTrouble(folder))?.message ?? "", /full/);
    assert.equal(await findRisk(folder), undefined);
  });
});
