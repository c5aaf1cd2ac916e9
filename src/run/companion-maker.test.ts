import assert from "node:assert/strict";
import { truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";

import { sampleUpload } from "../../test/sample-upload.ts";
import { tempDir } from "../../test/temp.ts";
import type { Companion } from "../cache/contract.ts";
import type { CompanionKey } from "../cache/kind.ts";
import type { PathInfo } from "../nix/path-info.ts";
import { parseStorePath } from "../nix/store-path.ts";
import type { FoundLog } from "../store/build-log.ts";
import { companionMaker } from "./companion-maker.ts";

const { signal } = new AbortController();
const DERIVER = parseStorePath(`/nix/store/${"d".repeat(32)}-hello.drv`);

interface Made {
  readonly companions: readonly Companion[];
  /** Why there are fewer. */
  readonly lacks: readonly string[];
}

async function make(
  info: Partial<PathInfo>,
  log: FoundLog | undefined,
  keys: readonly CompanionKey[] = ["build-logs"],
): Promise<Made> {
  const lacks: string[] = [];
  const of = companionMaker({
    companions: new Set(keys),
    store: { findBuildLog: async () => log },
    realisations: undefined,
    onLack: ({ what, why }) => lacks.push(`${what}: ${why}`),
  });
  const companions: Companion[] = [];
  const { request } = sampleUpload({ name: "hello", info: { deriver: DERIVER, ...info } });
  for await (const companion of of(request.info, signal)) companions.push(companion);
  return { companions, lacks };
}

describe("companionMaker()", () => {
  it("makes the log of a build, as plain text under the name of its derivation", async () => {
    await using temp = await tempDir();
    const file = join(temp.dir, "log");
    await writeFile(file, "made\n");
    const found = { file, isCompressed: false, sizeBytes: 5, birthMs: 0, writtenMs: 0 };
    const { companions, lacks } = await make({}, found);
    assert.deepEqual(lacks, []);
    assert.deepEqual(
      companions.map(({ name, contentType, bytes }) => [
        name,
        contentType,
        Buffer.from(bytes).toString(),
      ]),
      [[`log/${"d".repeat(32)}-hello.drv`, "text/plain; charset=utf-8", "made\n"]],
    );
    assert.deepEqual(await make({}, found, ["listings"]), { companions: [], lacks: [] });
  });

  it("tells of a log that is too large, and keeps no path from its own", async () => {
    await using temp = await tempDir();
    const file = join(temp.dir, "log");
    await writeFile(file, "");
    await truncate(file, 17 << 20);
    const made = await make(
      {},
      { file, birthMs: 0, writtenMs: 0, isCompressed: false, sizeBytes: 17 << 20 },
    );
    const lacks = [`build log: it has more than ${16 << 20} bytes`];
    assert.deepEqual(made, { companions: [], lacks });
  });

  it("tells of a log that is missing only where the path was built here", async () => {
    const lacks = ["build log: the store has none"];
    assert.deepEqual(await make({ ultimate: true }, undefined), { companions: [], lacks });
    assert.deepEqual(await make({ ultimate: false }, undefined), { companions: [], lacks: [] });
    for (const deriver of [undefined, parseStorePath(DERIVER.replace(".drv", ""))]) {
      assert.deepEqual(await make({ deriver }, undefined), { companions: [], lacks: [] });
    }
  });
});
