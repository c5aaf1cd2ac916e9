import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { judgeAccess } from "./access.ts";

const basic = (credentials: string): string =>
  `Basic ${Buffer.from(credentials).toString("base64")}`;

describe("judgeAccess()", () => {
  const cases: readonly [string | undefined, ReturnType<typeof judgeAccess>][] = [
    [undefined, "anonymous"],
    ["", "anonymous"],
    ["Bearer", "anonymous"],
    ["Bearer ", "anonymous"],
    ["Bearer secret", "owner"],
    ["bearer secret", "owner"],
    ["Bearer secre", "wrong"],
    ["Bearer secret2", "wrong"],
    ["Bearer SECRET", "wrong"],
    [basic("anyone:secret"), "owner"],
    [basic(":secret"), "owner"],
    [basic("secret:"), "anonymous"],
    [basic("secret"), "wrong"],
    [basic("a:b:secret"), "wrong"],
    ["Digest secret", "wrong"],
    ["secret", "wrong"],
  ];
  for (const [header, expected] of cases) {
    it(`takes ${JSON.stringify(header)} for ${expected}`, () => {
      assert.equal(judgeAccess(header, "secret"), expected);
    });
  }
});
