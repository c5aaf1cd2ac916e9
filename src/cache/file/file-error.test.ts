import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { tempDir } from "../../../test/temp.ts";
import { type ErrorCode, HandpickError, isOutage, isRefusal } from "../../error.ts";
import { FormatError } from "../../nix/format-error.ts";
import { fileError } from "./file-error.ts";

/** An error as Node makes it. */
function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: something, write '/x'`), { code });
}

async function meaningOf(
  error: unknown,
  options: { readonly dir?: string; readonly isReading?: boolean } = {},
): Promise<HandpickError> {
  const found = await fileError(error, { action: "write to it", dir: "/", ...options });
  assert.ok(found instanceof HandpickError);
  assert.equal(found.cause, error);
  assert.match(found.message, /^Cannot write to it: /);
  return found;
}

describe("fileError()", () => {
  it("tells outages, refusals and faults of one path apart", async () => {
    const codes: Readonly<Record<string, ErrorCode>> = {
      ENOSPC: "CACHE_UNAVAILABLE",
      EDQUOT: "CACHE_UNAVAILABLE",
      EIO: "CACHE_UNAVAILABLE",
      ENODEV: "CACHE_UNAVAILABLE",
      ESTALE: "CACHE_UNAVAILABLE",
      EROFS: "CACHE_READ_ONLY",
      EACCES: "CACHE_READ_ONLY",
      EPERM: "CACHE_READ_ONLY",
      EFBIG: "UPLOAD_REJECTED",
      EISDIR: "UPLOAD_REJECTED",
      ENOTEMPTY: "UPLOAD_REJECTED",
      EMFILE: "OPEN_FILES_LIMIT",
      ENOENT: "CACHE_PROTOCOL",
      ENAMETOOLONG: "CACHE_PROTOCOL",
    };
    for (const [system, code] of Object.entries(codes)) {
      assert.equal((await meaningOf(systemError(system))).code, code, system);
    }
  });

  it("stops a cache whose disk is full, and lets it be tried again", async () => {
    const { code, message, hint } = await meaningOf(systemError("ENOSPC"));
    assert.ok(isOutage(code) && !isRefusal(code));
    assert.match(message, /the disk is full \(ENOSPC\)$/);
    assert.match(hint ?? "", /Make room/);
  });

  it("takes an absent file for a vanished disk if the folder is gone too", async () => {
    const error = systemError("ENOENT");
    assert.equal((await meaningOf(error, { dir: "/nowhere" })).code, "CACHE_UNAVAILABLE");
  });

  it("calls it a refusal if even reading is not permitted", async () => {
    const found = await meaningOf(systemError("EACCES"), { isReading: true });
    assert.equal(found.code, "CACHE_REFUSED");
  });

  it("speaks of the limits of the process where the disk is not FAT", async () => {
    await using temp = await tempDir();
    const { message, hint } = await meaningOf(systemError("EFBIG"), temp);
    assert.doesNotMatch(message, /FAT/);
    assert.match(hint ?? "", /ulimit/);
  });

  it("repeats what is wrong with a file", async () => {
    const error = new FormatError("nix-cache-info", "Cannot read nix-cache-info: it is a page");
    const { code, message } = await meaningOf(error);
    assert.equal(code, "CACHE_PROTOCOL");
    assert.equal(message, "Cannot write to it: cannot read nix-cache-info: it is a page");
  });

  it("returns other errors as they are", async () => {
    const errors = [new HandpickError("USAGE", "no"), new TypeError("no"), "no"];
    const options = { action: "write to it", dir: "/" };
    for (const error of errors) assert.equal(await fileError(error, options), error);
  });
});
