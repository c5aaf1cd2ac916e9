import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { type TempDir, tempDir } from "../../test/temp.ts";
import { HandpickError } from "../error.ts";
import { readFailure, recordFailure } from "../state/failure.ts";
import { readNotice } from "../state/notice.ts";
import { PassedOver } from "../state/passed-over.ts";
import { makeStateFolder, type StateFolder, stateFolder } from "../state/state-folder.ts";
import { recordingFailure } from "./record-failure.ts";

const HOUR_MS = 60 * 60_000;
const error = new HandpickError("STORE_UNAVAILABLE", "no store", { hint: "Make one." });

async function folderIn({ dir }: TempDir): Promise<StateFolder> {
  const folder = stateFolder(dir);
  await makeStateFolder(folder);
  return folder;
}

/** A sync that fails, which has to be told. */
async function failing(folder: StateFolder, signal = new AbortController().signal): Promise<void> {
  const sync = recordingFailure(
    { folder, passedOver: new PassedOver(), signal, now: Date.now },
    () => Promise.reject(error),
  );
  await assert.rejects(sync, error);
}

describe("recordingFailure()", () => {
  it("writes down why and since when a sync fails", async () => {
    await using temp = await tempDir();
    const folder = await folderIn(temp);
    await failing(folder);
    const { since = 0, ...failure } = (await readFailure(folder)) ?? {};
    assert.deepEqual(failure, { code: error.code, message: "no store", hint: "Make one." });
    assert.ok(since <= Date.now() && since > Date.now() - HOUR_MS);
    await failing(folder);
    assert.equal((await readFailure(folder))?.since, since);
  });

  it("tells people of it after a day, and not before", async () => {
    for (const [hours, expected] of [
      [23, /^$/],
      [25, /nothing has been pushed for more than a day/],
    ] as const) {
      await using temp = await tempDir();
      const folder = await folderIn(temp);
      const before = { code: "NETWORK", message: "before" };
      await recordFailure(folder, before, Date.now() - hours * HOUR_MS);
      await failing(folder);
      assert.match((await readNotice(folder)) ?? "", expected);
    }
  });

  it("takes an interrupted sync for no failure", async () => {
    await using temp = await tempDir();
    const folder = await folderIn(temp);
    await failing(folder, AbortSignal.abort(error));
    assert.equal(await readFailure(folder), undefined);
  });
});
