import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { sampleUpload } from "../../test/sample-upload.ts";
import { generateSecretKey, publicKeyOf } from "../nix/key.ts";
import { fingerprint, signFingerprint, verifyFingerprint } from "../nix/signature.ts";
import type { Plan } from "../plan/plan.ts";
import { isUnsigned, type SignOptions, signaturesOf, unsignedWarning } from "./signatures.ts";
import type { OpenedCache } from "./open-caches.ts";

const ours = generateSecretKey("ours-1");
const theirs = generateSecretKey("theirs-1");
const { info } = sampleUpload({ name: "lib" }).request;
const line = fingerprint({ ...info, storePath: info.path });
const stranger = signFingerprint(line, theirs);
const forged = signFingerprint(`${line}x`, ours);
const signed = { ...info, signatures: [stranger, forged, "no signature"] };

describe("signaturesOf()", () => {
  it("keeps well-formed ones of the store and adds ours, as sign says", () => {
    const of = (sign: "all" | "own" | "none"): readonly string[] =>
      signaturesOf(signed, { signer: "client", sign, signingKeys: [ours] });
    const own = signFingerprint(line, ours);
    assert.deepEqual(of("all"), [own, stranger]);
    assert.deepEqual(of("own"), [own]);
    assert.deepEqual(of("none"), [stranger]);
    assert.ok(verifyFingerprint(line, own, [publicKeyOf(ours)]));
  });

  it("adds one by each of our keys, where a cache takes several", () => {
    const next = generateSecretKey("next-1");
    const signingKeys = [next, ours];
    const own = signingKeys.map((key) => signFingerprint(line, key));
    const forgedToo = { ...signed, signatures: [...signed.signatures, signFingerprint("x", next)] };
    const options = { sign: "all", signingKeys } as const;
    assert.deepEqual(signaturesOf(forgedToo, { ...options, signer: "client" }), [...own, stranger]);
    assert.deepEqual(signaturesOf(forgedToo, { ...options, signer: "either" }), own.slice(0, 1));
    assert.deepEqual(signaturesOf(forgedToo, { ...options, signer: "cache" }), []);
  });

  it("says each once", () => {
    const again = { ...info, signatures: [signFingerprint(line, ours)] };
    const options = { signer: "client", sign: "all", signingKeys: [ours] } as const;
    assert.deepEqual(signaturesOf(again, options), again.signatures);
  });

  it("has only ours for a cache that signs as well", () => {
    const options = { signer: "either", sign: "all" } as const;
    assert.deepEqual(signaturesOf(signed, { ...options, signingKeys: [] }), []);
    assert.deepEqual(signaturesOf(signed, { ...options, signingKeys: [ours] }), [
      signFingerprint(line, ours),
    ]);
  });
});

/** An opened cache, as far as signatures go. */
function opened({ signer, sign, signingKeys }: SignOptions): OpenedCache {
  const cache = { name: "usb", traits: { signer } };
  return { cache, config: { sign }, credentials: { signingKeys } } as unknown as OpenedCache;
}

describe("unsignedWarning()", () => {
  const addressed = { ...info, signatures: [], contentAddress: "fixed:r:sha256:x" };
  const bare = { ...info, signatures: [], contentAddress: undefined };
  const warn = (
    record: typeof info,
    options: Partial<SignOptions> = {},
    action = "push",
  ): readonly string[] => {
    const plan = { paths: [{ path: record.path, action }] } as unknown as Plan;
    const infos = new Map([[record.path, record]]);
    const settings = { signer: "client", sign: "all", signingKeys: [], ...options } as const;
    return unsignedWarning({ plan, infos }, opened(settings));
  };

  it("names what readers will refuse, and says what to set", () => {
    assert.deepEqual(warn(bare), [
      "lib goes to usb without a signature, so Nix will refuse to read it; " +
        "set signing-key-file (handpick keygen makes a key)",
    ]);
  });

  it("is empty where somebody signs, and for what needs no signature", () => {
    assert.deepEqual(warn(bare, { signingKeys: [ours] }), []);
    assert.deepEqual(warn(bare, { signer: "either" }), []);
    assert.deepEqual(warn({ ...bare, signatures: [stranger] }), []);
    assert.deepEqual(warn(addressed), []);
    assert.deepEqual(warn(bare, {}, "present"), [], "nothing is written");
  });

  it("counts only the signatures that sign lets through", () => {
    const theirs = { ...bare, signatures: [stranger] };
    assert.equal(warn(theirs, { sign: "own" }).length, 1);
    assert.match(warn(theirs, { sign: "own" })[0] ?? "", /sign = "own" drops those of others; set/);
    const [none = ""] = warn(bare, { sign: "none", signingKeys: [ours] });
    assert.match(none, /sign = "none" adds none of ours; set sign = "all"$/);
    assert.equal(warn({ ...bare, signatures: ["no signature"] }).length, 1);
  });
});

describe("isUnsigned()", () => {
  it("is true where only we could sign, and have no key", () => {
    const base = { signer: "client", sign: "all", signingKeys: [] } as const;
    assert.equal(isUnsigned(opened(base)), true);
    assert.equal(isUnsigned(opened({ ...base, sign: "own" })), true);
    assert.equal(isUnsigned(opened({ ...base, signingKeys: [ours] })), false);
    assert.equal(isUnsigned(opened({ ...base, signer: "either" })), false);
    assert.equal(isUnsigned(opened({ ...base, sign: "none" })), false, "the user wants it so");
  });
});
