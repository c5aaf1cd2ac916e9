import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

import type { Cache, Compression } from "../src/cache/contract.ts";
import { sha256FromDigest } from "../src/nix/hash.ts";
import { generateSecretKey, printPublicKey, publicKeyOf } from "../src/nix/key.ts";
import type { PathInfo } from "../src/nix/path-info.ts";
import { fingerprint, signFingerprint } from "../src/nix/signature.ts";
import { parseStorePath, type StorePath } from "../src/nix/store-path.ts";
import { createTestNix, type TestNix } from "./nix.ts";
import { COMPRESSORS, samplePart } from "./sample-upload.ts";

const KEY = generateSecretKey("packed-1");

/** The line of `nix.conf` by which readers trust what {@link publishPacked} signs. */
export const TRUSTED: string = `trusted-public-keys = ${printPublicKey(publicKeyOf(KEY))}`;

/** A path of a real store, and its NAR. */
export interface PackedPath {
  readonly info: PathInfo;
  readonly nar: Buffer;
}

/** A path with a reference, `app` and `lib`: texts, so that every Nix makes the same without building. */
export const APP_AND_LIB: string = `
  builtins.toFile "app" "needs \${builtins.toFile "lib" "the library\\n"}\\n"
`;

/** Both paths of {@link APP_AND_LIB}. */
export interface AppAndLib {
  readonly app: PackedPath;
  readonly lib: PackedPath;
}

/** Packs both paths of {@link APP_AND_LIB}. */
export async function packAppAndLib(): Promise<AppAndLib> {
  await using nix = await createTestNix({ root: true });
  const evaluate = ["--eval", "--read-write-mode", "--expr", APP_AND_LIB];
  const { stdout } = await nix.run("nix-instantiate", evaluate);
  const path = parseStorePath(JSON.parse(stdout));
  const found = await nix.run("nix-store", ["--query", "--references", path]);
  const lib = await packPath(nix, parseStorePath(found.stdout.trim()));
  return { lib, app: await packPath(nix, path) };
}

/** Reads a path of a Nix that has another root. */
async function packPath(nix: TestNix, path: StorePath): Promise<PackedPath> {
  const { stdout } = await nix.run("nix-store", ["--query", "--references", path]);
  const references = stdout.split("\n").filter(Boolean);
  const dump = `nix-store --dump ${nix.dir}/root${path} > ${nix.dir}/nar`;
  await nix.run("sh", ["-c", dump]);
  const nar = await readFile(join(nix.dir, "nar"));
  return {
    nar,
    info: {
      path,
      narHash: sha256FromDigest(createHash("sha256").update(nar).digest()),
      narSize: nar.length,
      references: references.map((line) => parseStorePath(line)),
      deriver: undefined,
      registrationTime: 0,
      ultimate: true,
      signatures: [],
      // Without it Nix asks for a signature.
      contentAddress: undefined,
    },
  };
}

/** Puts a path into a cache, in one part and signed. */
export async function publishPacked(
  cache: Cache,
  { info, nar }: PackedPath,
  compression: Compression,
): Promise<void> {
  const { signal } = new AbortController();
  const file = COMPRESSORS[compression](nar);
  const signatures = [signFingerprint(fingerprint({ ...info, storePath: info.path }), KEY)];
  const upload = await cache.beginUpload({ info, compression, signatures }, signal);
  const fileHash = sha256FromDigest(createHash("sha256").update(file).digest());
  await upload.putPart({ ...samplePart(1, file), fileHash }, signal);
  await upload.publish({ fileHash, fileSize: file.length }, signal);
}

/** A cache that Nix fetches from. */
export interface Substituter {
  readonly url: string;
  /** More lines of `nix.conf`. */
  readonly lines: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** Fetches the app into an empty store, signatures required; returns false if Nix refuses to. */
export async function substituteApp(
  paths: AppAndLib,
  { url, lines, env = {} }: Substituter,
): Promise<boolean> {
  await using nix = await createTestNix({ root: true });
  const config = ["require-sigs = true", `substituters = ${url}`, ...lines];
  const options = { env: { ...env, NIX_CONFIG: config.join("\n") }, allowFailure: true };
  const { status } = await nix.run("nix-store", ["--realise", paths.app.info.path], options);
  if (status !== 0) return false;
  await nix.run("nix-store", ["--verify", "--check-contents"]);
  await assertHasApp(nix, paths);
  return true;
}

/** Checks that a Nix with another root has the app, with the text that it was made with. */
export async function assertHasApp(nix: TestNix, { app, lib }: AppAndLib): Promise<void> {
  const text = await readFile(join(nix.dir, "root", app.info.path), "utf8");
  assert.equal(text, `needs ${lib.info.path}\n`);
}
