import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { inspect } from "node:util";
import type { HandpickError } from "../error.ts";
import { parseToken } from "./token.ts";

const source = "file /run/secrets/cachix";

describe("parseToken()", () => {
  it("refuses what is wrapped around a token, or is none, and says what it is", () => {
    const cases = [
      ["CACHIX_AUTH_TOKEN=SECRET", "an assignment"],
      ["export TOKEN='SECRET'", "an assignment"],
      ["authToken = SECRET", "an assignment"],
      ['"SECRET"', "quotes around it"],
      ["'SECRET'", "quotes around it"],
      ["ENC[AES256_GCM,data:SECRET,iv:a,tag:b,type:str]", "what sops encrypted"],
      ["token: ENC[AES256_GCM,data:SECRET]\nsops:\n  kms: []", "what sops encrypted"],
      [
        "-----BEGIN AGE ENCRYPTED FILE-----\nSECRET\n-----END AGE ENCRYPTED FILE-----",
        "a PEM block",
      ],
      ["age-encryption.org/v1\n-> X25519 SECRET", "a file of age"],
      ["AGE-SECRET-KEY-1SECRET", "a file of age"],
      ["$ANSIBLE_VAULT;1.1;AES256\nSECRET", "a file of Ansible Vault"],
      ['{ "token": "SECRET" }', "JSON"],
      ["token: SECRET", "YAML"],
      ["machine cachix.org password SECRET", "a line of netrc"],
      ["Bearer SECRET", "a header"],
      ["SECRET\nSECRET", "several lines"],
      ["$SECRET", "a variable that was not filled in"],
      ["${SECRET}", "a variable that was not filled in"],
      ["<SECRET>", "a placeholder"],
      ["op://vault/SECRET", "an address"],
    ] as const;
    for (const [text, form] of cases) {
      assert.throws(
        () => parseToken({ text, source }),
        (error: HandpickError) => {
          assert.equal(error.code, "CONFIG_INVALID");
          assert.ok(error.message.startsWith(`Cannot use the token from ${source}: `));
          assert.ok(error.message.endsWith(`, found ${form}`), error.message);
          assert.doesNotMatch(inspect(error), /SECRET/);
          return error.hint?.startsWith("Put the token alone there") === true;
        },
      );
    }
  });

  it("takes every other word of visible ASCII", () => {
    const jwt = "eyJhbGciOiJIUzI1NiJ9.eyJkYXRhIjoiMSJ9.c2ln-_";
    for (const text of [jwt, "dG9rZW4=", "YWJjZA==", "a/b+c=", `"\\/+=&<>%x`, "key:value"]) {
      assert.equal(parseToken({ text, source }).reveal(), text);
    }
  });
});
