import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";
import { zstdCompressSync } from "node:zlib";

import { sha256FromDigest } from "../../../src/nix/hash.ts";
import { generateSecretKey } from "../../../src/nix/key.ts";
import { printNarInfo } from "../../../src/nix/narinfo.ts";
import { fingerprint, signFingerprint } from "../../../src/nix/signature.ts";
import { fromBaseName } from "../../../src/nix/store-path.ts";
import type { CacheEvidence } from "../evidence.ts";
import type { LoggedRequest } from "../fault-player.ts";
import type { KindName } from "./kind.ts";
import { KINDS } from "./kinds.ts";
import { readLayout } from "./layout.ts";

const HASH = "l".repeat(32);
const KEY = { secret: generateSecretKey("campaign-1"), file: "key" };
const NAR = Buffer.from("a NAR");
const FILE = zstdCompressSync(NAR);
const URL = `nar/${hashOf(FILE)}.nar.zst`;

type Files = Map<string, Buffer>;

describe("readLayout()", () => {
  it("finds paths with their NARs, and nothing wrong, in a cache that is right", () => {
    const { published, flaws, untold } = readLayout(soundFiles(), KEY);
    assert.deepEqual([[...published.keys()], flaws, untold], [[HASH], [], []]);
    assert.deepEqual(published.get(HASH)?.nar(), NAR);
  });

  const planted: Readonly<Record<string, (files: Files) => unknown>> = {
    "a NAR that is gone": (files) => files.delete(URL),
    "a NAR that is cut": (files) => files.set(URL, FILE.subarray(1)),
    "a NAR with other bytes": (files) => files.set(URL, Buffer.alloc(FILE.length)),
    "a narinfo that is cut": (files) => files.set(`${HASH}.narinfo`, Buffer.from("StorePath: /n")),
    "the narinfo of another path": (files) =>
      files.set(`${"a".repeat(32)}.narinfo`, files.get(`${HASH}.narinfo`) ?? FILE),
    "a narinfo that nobody signed": (files) => files.set(`${HASH}.narinfo`, narInfo(false)),
    "a file of nobody's": (files) => files.set("nar/upload.tmp", FILE),
    "the lack of nix-cache-info": (files) => files.delete("nix-cache-info"),
  };
  for (const [what, plant] of Object.entries(planted)) {
    it(`notices ${what}`, () => {
      const files = soundFiles();
      plant(files);
      assert.notDeepEqual(readLayout(files, KEY).flaws, []);
    });
  }

  it("tells NARs that no narinfo names", () => {
    const files = soundFiles();
    files.delete(`${HASH}.narinfo`);
    assert.deepEqual(readLayout(files, KEY).untold, [URL]);
  });
});

describe("what a run began", () => {
  it("has to be given up in a bucket, once a part was sent", () => {
    const sent = { operation: "UploadPart", upload: "id" };
    assert.deepEqual(unended("s3", ["id"], [sent]), ["id"]);
    assert.deepEqual(unended("s3", ["id"], [{ ...sent, operation: "CreateMultipartUpload" }]), []);
    const given = { operation: "AbortMultipartUpload", upload: "id" };
    assert.deepEqual(unended("s3", ["id"], [sent, given]), []);
  });

  it("has to be removed from a bucket, once it is whole and nobody was told", () => {
    const whole = { operation: "CompleteMultipartUpload", target: `/bucket/${URL}?uploadId=id` };
    assert.deepEqual(unended("s3", [URL], [whole]), [URL]);
    for (const operation of ["DeleteObject", "PutObject"]) {
      assert.deepEqual(unended("s3", [URL], [whole, { operation, upload: URL }]), []);
    }
  });

  it("is not removed from a bucket once readers may have been told", () => {
    const told = { operation: "PutObject", upload: URL };
    const removed = { operation: "DeleteObject", upload: URL, at: 1 };
    assert.deepEqual(givenUpTooEarly("s3", [told, removed]), [URL]);
    assert.deepEqual(givenUpTooEarly("s3", [{ ...told, status: () => 403 }, removed]), []);
  });

  it("has to be removed from a folder", () => {
    const made = { operation: "create", target: "cache/.partial/x" };
    assert.deepEqual(unended("file", [".partial/x"], [made]), [".partial/x"]);
    const removed = { ...made, operation: "remove" };
    assert.deepEqual(unended("file", [".partial/x"], [made, removed]), []);
    assert.deepEqual(unended("file", [".partial/x"], []), [], "of an earlier run");
  });
});

function unended(
  kind: KindName,
  open: readonly string[],
  log: readonly Partial<LoggedRequest>[],
): readonly string[] {
  return KINDS[kind].unended(evidence(kind, open, log));
}

function givenUpTooEarly(
  kind: KindName,
  log: readonly Partial<LoggedRequest>[],
): readonly string[] | undefined {
  return KINDS[kind].givenUpTooEarly?.(evidence(kind, [], log));
}

function evidence(
  kind: KindName,
  open: readonly string[],
  log: readonly Partial<LoggedRequest>[],
): CacheEvidence {
  const plain = { operation: "", target: "", upload: "", headers: "{}", body: undefined, at: 0 };
  return {
    name: "one",
    kind,
    open,
    published: new Map(),
    isVisible: () => false,
    pins: [],
    violations: [],
    flaws: [],
    log: log.map((one) => ({ ...plain, fault: undefined, status: () => 200, ...one })),
  };
}

function soundFiles(): Files {
  return new Map([
    ["nix-cache-info", Buffer.from("StoreDir: /nix/store\n")],
    [`${HASH}.narinfo`, narInfo(true)],
    [URL, FILE],
  ]);
}

function narInfo(isSigned: boolean): Buffer {
  const path = {
    storePath: fromBaseName(`${HASH}-lib`),
    narHash: sha256FromDigest(createHash("sha256").update(NAR).digest()),
    narSize: NAR.length,
    references: [],
  };
  const text = printNarInfo({
    ...path,
    url: URL,
    compression: "zstd",
    fileHash: sha256FromDigest(createHash("sha256").update(FILE).digest()),
    fileSize: FILE.length,
    deriver: undefined,
    system: undefined,
    signatures: isSigned ? [signFingerprint(fingerprint(path), KEY.secret)] : [],
    ca: undefined,
  });
  return Buffer.from(text);
}

function hashOf(bytes: Buffer): string {
  const [, digest = ""] = sha256FromDigest(createHash("sha256").update(bytes).digest()).split(":");
  return digest;
}
