import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";

import { tempDir } from "../../test/temp.ts";
import { wakes } from "./wakes.ts";

describe("wakes()", { timeout: 20_000 }, () => {
  it("yields at once, and once for changes that come together", async () => {
    await using temp = await tempDir();
    const end = new AbortController();
    const found = wakes(temp.dir, { signal: end.signal });
    await found.next();
    const next = found.next();
    for (const name of ["a", "b", "c"]) await writeFile(join(temp.dir, name), "");
    assert.equal((await next).done, false);
    const last = found.next();
    end.abort();
    assert.equal((await last).done, true);
  });

  it("sees a change that comes during the look before", async () => {
    await using temp = await tempDir();
    const end = new AbortController();
    const found = wakes(temp.dir, { signal: end.signal });
    await found.next();
    await writeFile(join(temp.dir, "a"), "");
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal((await found.next()).done, false);
    await found.return(undefined);
  });

  it("looks again in its time where nothing tells of changes", async () => {
    const end = new AbortController();
    const found = wakes("/nonexistent", { signal: end.signal, pollMs: () => 1 });
    for (let looks = 0; looks < 3; looks++) assert.equal((await found.next()).done, false);
    await found.return(undefined);
    end.abort();
    assert.equal((await wakes("/nonexistent", { signal: end.signal }).next()).done, true);
  });
});
