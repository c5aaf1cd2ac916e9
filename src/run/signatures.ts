import type { CacheTraits } from "../cache/contract.ts";
import type { Sign } from "../config/config.ts";
import { publicKeyOf, type SecretKey } from "../nix/key.ts";
import type { PathInfo } from "../nix/path-info.ts";
import { type Realisation, realisationFingerprints } from "../nix/realisation.ts";
import { fingerprint, isSignature, signFingerprint, verifyFingerprint } from "../nix/signature.ts";
import { nameOf, type StorePath } from "../nix/store-path.ts";
import type { Plan } from "../plan/plan.ts";
import type { OpenedCache } from "./open-caches.ts";

export interface SignOptions {
  readonly signer: CacheTraits["signer"];
  /** The signatures that readers get: those of the store, ours, or both. */
  readonly sign: Sign;
  /** A cache that takes one signature gets none but that of the first. */
  readonly signingKeys: readonly SecretKey[];
}

/**
 * The signatures that a cache is given with a path, ours first: none where it takes none, one of ours where
 * it signs too, else those that its configuration asks for. Of those of the store, one in the name of our own
 * key has to be ours.
 */
export function signaturesOf(info: PathInfo, options: SignOptions): readonly string[] {
  const lines = [fingerprint({ ...info, storePath: info.path })];
  return signaturesOver(lines, info.signatures, options);
}

/** The signatures that readers get of a realisation; see {@link signaturesOf}. */
export function realisationSignatures(
  realisation: Realisation,
  options: SignOptions,
): readonly string[] {
  return signaturesOver(realisationFingerprints(realisation), realisation.signatures, options);
}

/** @param lines Fingerprints, any of which may be signed; we sign each. */
function signaturesOver(
  lines: readonly string[],
  signatures: readonly string[],
  { signer, sign, signingKeys }: SignOptions,
): readonly string[] {
  if (signer === "cache") return [];
  const keys = signer === "either" ? signingKeys.slice(0, 1) : signingKeys;
  const ours =
    sign === "none" ? [] : keys.flatMap((key) => lines.map((line) => signFingerprint(line, key)));
  if (signer === "either" || sign === "own") return ours;
  const publicKeys = signingKeys.map(publicKeyOf);
  const forged = (signature: string): boolean =>
    publicKeys.some(({ name }) => signature.startsWith(`${name}:`)) &&
    !lines.some((line) => verifyFingerprint(line, signature, publicKeys));
  const theirs = signatures.filter((one) => isSignature(one) && !forged(one));
  return [...new Set([...ours, ...theirs])];
}

export function signOptions({
  cache,
  config,
  credentials,
}: Pick<OpenedCache, "cache" | "config" | "credentials">): SignOptions {
  const { signer } = cache.traits;
  return { signer, sign: config.sign, signingKeys: credentials.signingKeys };
}

/** Says how to have signatures that readers need. */
export const SIGN_HINT = "Set signing-key-file; handpick keygen NAME makes a key.";

/** Returns true if nobody signs for the readers of a cache, who need a signature: neither it nor we. */
export function isUnsigned(opened: OpenedCache): boolean {
  const { signer, sign, signingKeys } = signOptions(opened);
  return signer === "client" && signingKeys.length === 0 && sign !== "none";
}

/** Says that readers will refuse some of what is to be pushed; empty if they will not. */
export function unsignedWarning(
  { plan, infos }: { readonly plan: Plan; readonly infos: ReadonlyMap<StorePath, PathInfo> },
  opened: OpenedCache,
): readonly string[] {
  const options = signOptions(opened);
  if (options.signer !== "client") return [];
  const unsigned = plan.paths.filter(({ path, action }) => {
    const info = action === "push" ? infos.get(path) : undefined;
    return info !== undefined && !isTrustable(info, options);
  });
  const [first] = unsigned;
  if (first === undefined) return [];
  const [rest, them] =
    unsigned.length === 1 ? ["goes", "it"] : [`and ${unsigned.length - 1} more go`, "them"];
  return [
    `${nameOf(first.path)} ${rest} to ${opened.cache.name} without a signature, so Nix will refuse to ` +
      `read ${them}; ${remedy(options)}`,
  ];
}

function remedy({ sign, signingKeys }: SignOptions): string {
  const all = `sign = "none" adds none of ours; set sign = "all"`;
  if (signingKeys.length > 0) return all;
  const key = "signing-key-file (handpick keygen makes a key)";
  if (sign === "none") return `${all} and ${key}`;
  return sign === "own" ? `sign = "own" drops those of others; set ${key}` : `set ${key}`;
}

/** Returns true if readers take a path on trust of a signature or of its content address. */
function isTrustable(info: PathInfo, { sign, signingKeys }: SignOptions): boolean {
  if (info.contentAddress !== undefined) return true;
  if (signingKeys.length > 0 && sign !== "none") return true;
  return sign !== "own" && info.signatures.some(isSignature);
}
