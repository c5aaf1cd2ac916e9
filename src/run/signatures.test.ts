import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { sampleUpload } from "../../test/sample-upload.ts";
import { generateSecretKey, publicKeyOf } from "../nix/key.ts";
import { fingerprint, signFingerprint, verifyFingerprint } from "../nix/signature.ts";
import { signaturesOf } from "./signatures.ts";

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
      signaturesOf(signed, { signer: "client", sign, signingKey: ours });
    const own = signFingerprint(line, ours);
    assert.deepEqual(of("all"), [own, stranger]);
    assert.deepEqual(of("own"), [own]);
    assert.deepEqual(of("none"), [stranger]);
    assert.ok(verifyFingerprint(line, own, [publicKeyOf(ours)]));
  });

  it("says each once", () => {
    const again = { ...info, signatures: [signFingerprint(line, ours)] };
    const options = { signer: "client", sign: "all", signingKey: ours } as const;
    assert.deepEqual(signaturesOf(again, options), again.signatures);
  });

  it("has only ours for a cache that signs as well", () => {
    const options = { signer: "either", sign: "all" } as const;
    assert.deepEqual(signaturesOf(signed, { ...options, signingKey: undefined }), []);
    assert.deepEqual(signaturesOf(signed, { ...options, signingKey: ours }), [
      signFingerprint(line, ours),
    ]);
  });
});
