import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { zstdDecompressSync } from "node:zlib";

import { parseSha256, sha256FromDigest } from "../../src/nix/hash.ts";
import { parsePublicKey } from "../../src/nix/key.ts";
import { fingerprint, verifyFingerprint } from "../../src/nix/signature.ts";
import { fromBaseName } from "../../src/nix/store-path.ts";

const HASH_PART = /^[0-9a-df-np-sv-z]{32}$/;
const BASE_NAME = /^[0-9a-df-np-sv-z]{32}-[^/]+$/;
const KEYS =
  "cDeriver cFileHash cFileSize cNarHash cNarSize cReferences cSig cStoreHash cStoreSuffix";

/** A JSON object of which nothing is known. */
export type Json = Readonly<Record<string, unknown>>;

export function isHashPart(text: string): boolean {
  return HASH_PART.test(text);
}

/** The value as an object; an empty one if it is none. */
export function record(value: unknown): Json {
  return typeof value === "object" && value !== null ? { ...value } : {};
}

/** The value as a list of texts; an empty one if it is none. */
export function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.map(show) : [];
}

/** A text as it is, anything else as JSON. */
export function show(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value ?? null);
}

/** The keys of `narInfoCreate` whose values do not fit the uploaded file. */
export function wrongInFile(narInfo: Json, file: Buffer, compression: string): string[] {
  const nar = decompress(file, compression);
  return wrong(narInfo, {
    cFileHash: narInfo["cFileHash"] === createHash("sha256").update(file).digest("hex"),
    cFileSize: narInfo["cFileSize"] === file.length,
    cNarHash: nar !== undefined && narInfo["cNarHash"] === sha256FromDigest(sha256(nar)),
    cNarSize: nar !== undefined && narInfo["cNarSize"] === nar.length,
  });
}

/**
 * The keys of `narInfoCreate` whose values are not in the one spelling that the service takes.
 *
 * @param keys Registered public keys in bare base64; a signature has to fit one if there are any.
 */
export function wrongInNarInfo(narInfo: Json, keys: readonly string[]): string[] {
  const { cStoreHash, cStoreSuffix, cDeriver, cSig } = narInfo;
  const names = Object.keys(narInfo).toSorted().join(" ");
  const references = texts(narInfo["cReferences"]);
  const sorted = [...new Set(references)].toSorted((a, b) => (a < b ? -1 : 1));
  const isSpelled = {
    keys: names === KEYS,
    cStoreHash: HASH_PART.test(show(cStoreHash)),
    cStoreSuffix: /^[^/]+$/.test(show(cStoreSuffix)),
    cReferences:
      references.every((name) => BASE_NAME.test(name)) && sorted.join() === references.join(),
    cDeriver:
      cDeriver === "unknown-deriver" ||
      (BASE_NAME.test(show(cDeriver)) && show(cDeriver).endsWith(".drv")),
    cSig: cSig === null || /^[0-9A-Za-z+/]{86}==$/.test(show(cSig)),
  };
  const found = wrong(narInfo, isSpelled);
  if (found.length > 0 || cSig === null || keys.length === 0) return found;
  return wrong(narInfo, { cSig: isSignedBy(narInfo, keys) });
}

function wrong(narInfo: Json, rules: Readonly<Record<string, boolean>>): string[] {
  return Object.entries(rules)
    .filter(([, holds]) => !holds)
    .map(([key]) => `${key} ${show(narInfo[key])}`);
}

function isSignedBy(narInfo: Json, keys: readonly string[]): boolean {
  const line = fingerprint({
    storePath: fromBaseName(`${show(narInfo["cStoreHash"])}-${show(narInfo["cStoreSuffix"])}`),
    narHash: parseSha256(show(narInfo["cNarHash"])),
    narSize: Number(narInfo["cNarSize"]),
    references: texts(narInfo["cReferences"]).map((name) => fromBaseName(name)),
  });
  const publicKeys = keys.map((key) => parsePublicKey(`fake:${key}`));
  return verifyFingerprint(line, `fake:${show(narInfo["cSig"])}`, publicKeys);
}

function decompress(file: Buffer, compression: string): Buffer | undefined {
  try {
    return compression === "zst"
      ? zstdDecompressSync(file)
      : execFileSync("xz", ["-dc"], { input: file, stdio: ["pipe", "pipe", "ignore"] });
  } catch {
    return undefined; // the caller says which values do not fit
  }
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash("sha256").update(bytes).digest();
}
