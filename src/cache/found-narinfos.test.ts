import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, it } from "node:test";

import { sampleUpload } from "../../test/sample-upload.ts";
import { sha256FromDigest } from "../nix/hash.ts";
import { generateSecretKey, publicKeyOf, type SecretKey } from "../nix/key.ts";
import { type NarInfo, printNarInfo } from "../nix/narinfo.ts";
import type { PathInfo } from "../nix/path-info.ts";
import { fingerprint, signFingerprint } from "../nix/signature.ts";
import { fromBaseName, type HashPart, hashPartOf, parseStorePath } from "../nix/store-path.ts";
import { narInfoOf } from "./binary-cache.ts";
import { FoundNarInfos, type KnownKeys } from "./found-narinfos.ts";

const OURS = generateSecretKey("ours-1");
const NAMESAKE = generateSecretKey("ours-1");
const STRANGER = generateSecretKey("stranger-1");
const LIB = fromBaseName(`${"1".repeat(32)}-lib`);
const OTHER_HASH = sha256FromDigest(randomBytes(32));

const { request, packed } = sampleUpload({ name: "app", references: [LIB] });
const RECORD = request.info;
const plain = narInfoOf(request, packed);

/** A path of Nix's that is named for its content, and refers to nothing. */
const ADDRESSED: PathInfo = {
  ...RECORD,
  path: parseStorePath("/nix/store/72lsa8jbk86m74df2zaqyb4dq36l7245-lib"),
  references: [],
  contentAddress: "text:sha256:1xsh8w47cwbgnz9l5q3gg6vdzannffg32pl0x40d6k7k5m6r00iz",
};
const addressed = narInfoOf({ ...request, info: ADDRESSED }, packed);

const SIGNING: KnownKeys = {
  publicKeys: [publicKeyOf(OURS)],
  areAll: false,
  signs: true,
  keepsOthers: true,
};

function signed(narInfo: NarInfo, ...keys: readonly SecretKey[]): NarInfo {
  const line = fingerprint(narInfo);
  return { ...narInfo, signatures: keys.map((key) => signFingerprint(line, key)) };
}

interface Judged {
  readonly keys?: KnownKeys | undefined;
  readonly record?: PathInfo | undefined;
  readonly verifies?: boolean;
}

/** Returns true if the narinfo counts. */
function counts(narInfo: NarInfo, options: Judged = {}): boolean {
  const { keys = SIGNING, record = RECORD, verifies = true } = options;
  const found = new FoundNarInfos({ keys });
  const asked = { hashPart: hashPartOf(record.path), record, verifies };
  return found.read(printNarInfo(narInfo), asked) !== undefined;
}

const ours = signed(plain, OURS);
/** A build of another machine. */
const rebuilt: NarInfo = { ...plain, narHash: OTHER_HASH, narSize: plain.narSize + 8 };
/** What is done to a narinfo that we signed. */
const EDITS: Readonly<Record<string, Partial<NarInfo>>> = {
  "its NAR hash": { narHash: OTHER_HASH },
  "its NAR size": { narSize: plain.narSize + 8 },
  "its references": { references: [] },
  "the name of its path": { storePath: fromBaseName(`${hashPartOf(plain.storePath)}-other`) },
  "its URL": { url: `nar/${OTHER_HASH.slice("sha256:".length)}.nar.zst` },
  "its file hash": { fileHash: OTHER_HASH },
  "its compression": { compression: "xz" },
  "its content address": { ca: `text:${OTHER_HASH}` },
};

describe("FoundNarInfos", () => {
  it("reads no narinfo of another path, and nothing that is none", () => {
    const found = new FoundNarInfos({});
    const asked = { hashPart: hashPartOf(LIB), record: undefined, verifies: false };
    for (const text of ["", "<html>", printNarInfo(plain)]) {
      assert.equal(found.read(text, asked), undefined);
    }
  });

  it("takes what we wrote ourselves, with and without a key", () => {
    for (const verifies of [true, false]) {
      assert.equal(counts(ours, { verifies }), true);
      assert.equal(counts(plain, { verifies, keys: { ...SIGNING, signs: false } }), true);
      assert.equal(counts(plain, { verifies, keys: SIGNING }), false);
    }
  });

  for (const [edited, edit] of Object.entries(EDITS)) {
    it(`takes none with another value for ${edited}`, () => {
      for (const verifies of [true, false]) {
        assert.equal(counts({ ...ours, ...edit }, { verifies }), false);
      }
    });
  }

  it("takes none whose references or size contradict our record of the same content", () => {
    for (const edit of [{ references: [] }, { narSize: plain.narSize + 8 }]) {
      for (const keys of [SIGNING, { ...SIGNING, publicKeys: [], signs: false }]) {
        assert.equal(counts({ ...plain, ...edit }, { keys }), false);
        assert.equal(counts(signed({ ...plain, ...edit }, STRANGER), { keys }), false);
      }
    }
  });

  it("takes the build of another machine that a known key signed, or unknown ones", () => {
    assert.equal(counts(signed(rebuilt, OURS)), true);
    assert.equal(counts(signed(rebuilt, STRANGER)), true);
    assert.equal(counts(signed(rebuilt, STRANGER), { keys: { ...SIGNING, areAll: true } }), true);
    assert.equal(counts(rebuilt, { keys: { ...SIGNING, signs: false } }), true);
    assert.equal(counts(signed({ ...rebuilt, references: [] }, STRANGER)), true);
  });

  it("takes no signature in the name of a known key that is not by it", () => {
    assert.equal(counts(signed(plain, NAMESAKE)), false);
    assert.equal(counts(signed(rebuilt, NAMESAKE)), false);
    assert.equal(counts({ ...ours, signatures: signed(rebuilt, OURS).signatures }), false);
    // To see that costs time, so a look in passing does not.
    assert.equal(counts(signed(plain, NAMESAKE), { verifies: false }), true);
    assert.equal(counts(signed(rebuilt, NAMESAKE), { verifies: false }), false);
  });

  it("does not mind a signature that our own record has, since a push brings it again", () => {
    const narInfo = signed(plain, NAMESAKE);
    const record = { ...RECORD, signatures: narInfo.signatures };
    assert.equal(counts(narInfo, { record, keys: { ...SIGNING, signs: false } }), true);
  });

  it("takes one good signature among bad ones", () => {
    const signatures = [...signed(rebuilt, OURS).signatures, ...ours.signatures];
    assert.equal(counts({ ...plain, signatures }), true);
  });

  it("takes unknown keys only as long as the configuration does not name all", () => {
    const keys = { ...SIGNING, areAll: true };
    assert.equal(counts(signed(plain, STRANGER)), true);
    assert.equal(counts(signed(plain, STRANGER), { keys }), false);
    assert.equal(counts(signed(plain, STRANGER), { keys: { ...keys, signs: false } }), true);
    assert.equal(counts(signed(plain, STRANGER, OURS), { keys }), true);
  });

  it("takes a path that is named for its content without a signature, if its content fits", () => {
    const record = ADDRESSED;
    for (const keys of [SIGNING, { ...SIGNING, signs: false }]) {
      assert.equal(counts(addressed, { record, keys }), true);
      assert.equal(counts({ ...addressed, narHash: OTHER_HASH }, { record, keys }), false);
      assert.equal(counts({ ...addressed, ca: undefined }, { record, keys }), false);
    }
    assert.equal(counts({ ...plain, ca: addressed.ca }), false);
  });

  it("takes what differs in parts that say nothing of its content", () => {
    const deriver = fromBaseName(`${"2".repeat(32)}-app.drv`);
    assert.equal(counts({ ...ours, deriver, system: "x86_64-linux" }), true);
    assert.equal(counts({ ...ours, url: "https://elsewhere.example/nar/app.nar.zst" }), true);
    assert.equal(counts({ ...ours, fileHash: undefined, fileSize: undefined }), true);
    assert.equal(counts(ours, { record: { ...RECORD, narSize: 0 } }), true);
  });

  it("knows that a NAR which is not compressed is the file itself", () => {
    const { narHash, narSize } = plain;
    const url = `nar/${narHash.slice("sha256:".length)}.nar`;
    const file = { url, compression: "none", fileHash: narHash, fileSize: narSize } as const;
    assert.equal(counts({ ...ours, ...file }), true);
    assert.equal(counts({ ...ours, ...file, compression: "gzip" }), false);
    assert.equal(counts({ ...ours, ...file, fileSize: narSize + 8 }), false);
    assert.equal(counts({ ...ours, ...file, fileHash: OTHER_HASH }), false);
  });

  describe("#withOthers()", () => {
    const kept = (
      narInfo: NarInfo,
      { keepsOthers = true, unread = [] as HashPart[] } = {},
    ): readonly string[] => {
      const found = new FoundNarInfos({ keys: { ...SIGNING, areAll: true, keepsOthers } });
      const asked = { hashPart: hashPartOf(RECORD.path), record: RECORD, verifies: true };
      found.distrust(unread);
      found.read(printNarInfo(narInfo), asked);
      return found.withOthers({ ...request, signatures: ours.signatures }).signatures;
    };

    it("adds signatures by unknown keys over what is published again", () => {
      const theirs = signed(plain, STRANGER);
      assert.deepEqual(kept(theirs), [...ours.signatures, ...theirs.signatures]);
      assert.deepEqual(kept(theirs, { keepsOthers: false }), ours.signatures);
      assert.deepEqual(kept(theirs, { unread: [hashPartOf(RECORD.path)] }), ours.signatures);
    });

    it("adds none in the name of a known key, and none over something else", () => {
      assert.deepEqual(kept(signed(plain, NAMESAKE)), ours.signatures);
      assert.deepEqual(kept(signed(rebuilt, STRANGER)), ours.signatures);
    });
  });
});
