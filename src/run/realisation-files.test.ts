import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { sampleUpload } from "../../test/sample-upload.ts";
import type { CacheCompanions, Companion } from "../cache/contract.ts";
import { generateSecretKey } from "../nix/key.ts";
import {
  isRealisationId,
  type Realisation,
  realisationFingerprints,
  type RealisationId,
} from "../nix/realisation.ts";
import { signFingerprint } from "../nix/signature.ts";
import { putAll, RealisationFiles } from "./realisation-files.ts";

const { signal } = new AbortController();
const KEY = generateSecretKey("ours-1");
const [app, lib] = ["app", "lib"].map((name) => sampleUpload({ name }).storePath);
assert.ok(app !== undefined && lib !== undefined);

function id(digit: string): RealisationId {
  const text = `sha256:${digit.repeat(64)}!out`;
  assert.ok(isRealisationId(text));
  return text;
}

const LIB: Realisation = { id: id("2"), path: lib, signatures: [], dependencies: new Map() };
const APP: Realisation = {
  id: id("1"),
  path: app,
  signatures: ["theirs-1:x"],
  dependencies: new Map([
    [id("2"), lib],
    [id("1"), app],
  ]),
};

const fileOf = ({ id }: Realisation): string => `realisations/${id}.doi`;
const namesOf = (files: Iterable<Companion>): string[] => [...files].map(({ name }) => name);

function create(): RealisationFiles {
  const found = new Map([APP, LIB].map((one) => [one.id, one]));
  return new RealisationFiles(found, { signer: "client", sign: "all", signingKeys: [KEY] });
}

/** The small files of a cache in memory. */
class Companions implements CacheCompanions {
  readonly files = new Map<string, Companion>();
  asked: string[] = [];
  missing = async (names: Iterable<string>): Promise<Set<string>> => {
    this.asked.push(...names);
    return new Set([...names].filter((name) => !this.files.has(name)));
  };
  put = async (companion: Companion): Promise<void> => {
    this.files.set(companion.name, companion);
  };
}

describe("RealisationFiles.companionsOf()", () => {
  it("makes those of a path and of all that they were built with, those once", () => {
    const files = create();
    assert.deepEqual(namesOf(files.companionsOf(app)), [LIB, APP].map(fileOf));
    assert.deepEqual(namesOf(files.companionsOf(app)), [fileOf(APP)]);
    assert.deepEqual(namesOf(files.companionsOf(lib)), [fileOf(LIB)]);
    assert.deepEqual(namesOf(files.companionsOf(sampleUpload({ name: "x" }).storePath)), []);
  });

  it("makes one again that the cache did not take", () => {
    const files = create();
    const full = new Error("the disk is full");
    assert.throws(() => {
      for (const { name } of files.companionsOf(app)) {
        assert.equal(name, fileOf(LIB));
        throw full;
      }
    }, full);
    assert.deepEqual(namesOf(files.companionsOf(app)), [LIB, APP].map(fileOf));
  });

  it("signs both forms, with dependencies and without", () => {
    const text = Buffer.from([...create().companionsOf(app)][1]?.bytes ?? []).toString();
    const { signatures } = JSON.parse(text) as { signatures: string[] };
    const lines = realisationFingerprints(APP);
    assert.equal(lines.length, 2);
    assert.deepEqual(
      signatures,
      lines.map((line) => signFingerprint(line, KEY)),
    );
  });
});

describe("RealisationFiles.missing()", () => {
  it("finds what a cache lacks of paths that are there, and puts it", async () => {
    const companions = new Companions();
    const files = create();
    const missing = await files.missing([app, lib], companions, signal);
    assert.deepEqual(namesOf(missing), [APP, LIB].map(fileOf));
    await putAll(missing, companions, signal);
    assert.deepEqual(await files.missing([app, lib], companions, signal), []);
  });

  it("asks for nothing that went with a path, and nothing of paths without any", async () => {
    const companions = new Companions();
    const files = create();
    namesOf(files.companionsOf(app));
    assert.deepEqual(await files.missing([app, lib], companions, signal), []);
    assert.deepEqual(companions.asked, []);
  });
});
