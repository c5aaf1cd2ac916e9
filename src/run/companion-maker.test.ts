import assert from "node:assert/strict";
import { truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";

import { sampleUpload } from "../../test/sample-upload.ts";
import { tempDir } from "../../test/temp.ts";
import type { Companion } from "../cache/contract.ts";
import type { CompanionKey } from "../cache/kind.ts";
import { generateSecretKey } from "../nix/key.ts";
import type { PathInfo } from "../nix/path-info.ts";
import {
  isRealisationId,
  type Realisation,
  realisationFingerprints,
  type RealisationId,
} from "../nix/realisation.ts";
import { signFingerprint } from "../nix/signature.ts";
import { parseStorePath } from "../nix/store-path.ts";
import type { FoundLog } from "../store/build-log.ts";
import type { Realisations } from "../store/realisations.ts";
import { companionMaker } from "./companion-maker.ts";
import type { SignOptions } from "./signatures.ts";

const { signal } = new AbortController();
const DERIVER = parseStorePath(`/nix/store/${"d".repeat(32)}-hello.drv`);

const UNSIGNED: SignOptions = { signer: "client", sign: "all", signingKey: undefined };

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
  const of = await companionMaker({
    companions: new Set(keys),
    store: { findBuildLog: async () => log, realisations: async () => ({ fault: "none" }) },
    paths: [],
    signing: UNSIGNED,
    onNote: (text) => lacks.push(text),
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
    const found = { file, isCompressed: false, sizeBytes: 5 };
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
    const made = await make({}, { file, isCompressed: false, sizeBytes: 17 << 20 });
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

describe("companionMaker() with realisations", () => {
  const { request } = sampleUpload({ name: "app" });
  const lib = sampleUpload({ name: "lib" }).request.info.path;
  const KEY = generateSecretKey("ours-1");

  function id(digit: string): RealisationId {
    const text = `sha256:${digit.repeat(64)}!out`;
    assert.ok(isRealisationId(text));
    return text;
  }
  const libRealisation: Realisation = {
    id: id("2"),
    path: lib,
    signatures: [],
    dependencies: new Map(),
  };
  const appRealisation: Realisation = {
    id: id("1"),
    path: request.info.path,
    signatures: ["theirs-1:x"],
    dependencies: new Map([
      [id("2"), lib],
      [id("1"), request.info.path],
    ]),
  };
  const nameOf = ({ id }: Realisation): string => `realisations/${id}.doi`;

  async function maker(found: Realisations, notes: string[] = []) {
    return await companionMaker({
      companions: new Set(["realisations"]),
      store: { findBuildLog: async () => undefined, realisations: async () => found },
      paths: [request.info.path],
      signing: { ...UNSIGNED, signingKey: KEY },
      onLack: () => assert.fail("nothing is lacking"),
      onNote: (text) => notes.push(text),
    });
  }
  const both = new Map([appRealisation, libRealisation].map((one) => [one.id, one]));

  it("makes those of the path and of all that it was built with, once", async () => {
    const of = await maker(both);
    const names: string[] = [];
    for await (const { name } of of(request.info, signal)) names.push(name);
    assert.deepEqual(names, [libRealisation, appRealisation].map(nameOf));
    const again: string[] = [];
    for await (const { name } of of({ ...request.info, path: lib }, signal)) again.push(name);
    assert.deepEqual(again, [nameOf(libRealisation)]);
    const other: string[] = [];
    for await (const { name } of of(request.info, signal)) other.push(name);
    assert.deepEqual(other, [nameOf(appRealisation)]);
  });

  it("makes one again that the cache did not take", async () => {
    const of = await maker(both);
    const full = new Error("the disk is full");
    await assert.rejects(async () => {
      for await (const companion of of(request.info, signal)) {
        assert.equal(companion.name, nameOf(libRealisation));
        throw full;
      }
    }, full);
    const names: string[] = [];
    for await (const { name } of of(request.info, signal)) names.push(name);
    assert.deepEqual(names, [libRealisation, appRealisation].map(nameOf));
  });

  it("signs both forms, with dependencies and without", async () => {
    const of = await maker(both);
    const texts: string[] = [];
    for await (const { bytes } of of(request.info, signal))
      texts.push(Buffer.from(bytes).toString());
    const { signatures } = JSON.parse(texts[1] ?? "") as { signatures: string[] };
    const lines = realisationFingerprints(appRealisation);
    assert.equal(lines.length, 2);
    assert.deepEqual(
      signatures,
      lines.map((line) => signFingerprint(line, KEY)),
    );
  });

  it("says why there are none", async () => {
    const notes: string[] = [];
    const of = await maker({ fault: "they are elsewhere" }, notes);
    for await (const { name } of of(request.info, signal)) assert.fail(name);
    assert.deepEqual(notes, ["no realisations go there: they are elsewhere"]);
  });
});
