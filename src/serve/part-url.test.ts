import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { checkPartUrl, signPartUrl, type ClaimedPartAddress } from "./part-url.ts";

const address = { narId: "nar", uploadId: "up+/=", partNumber: 3, md5: "sZRqySSS0jR8YjW00mERhA==" };

function claim(url: string): ClaimedPartAddress {
  const { pathname, searchParams } = new URL(url, "http://localhost");
  const [, , narId = "", partNumber] = pathname.split("/");
  return {
    narId,
    uploadId: searchParams.get("uploadId") ?? "",
    partNumber: Number(partNumber),
    md5: searchParams.get("md5") ?? "",
    expires: Number(searchParams.get("expires")),
    signature: searchParams.get("signature") ?? "",
  };
}

describe("checkPartUrl()", () => {
  const claimed = claim(signPartUrl(address, 1000, "key"));

  it("accepts what signPartUrl() made, until it expires", () => {
    assert.ok(checkPartUrl(claimed, 999, "key"));
    assert.ok(!checkPartUrl(claimed, 1000, "key"));
  });

  it("refuses another key and any change", () => {
    assert.ok(!checkPartUrl(claimed, 0, "other key"));
    const changes: Partial<ClaimedPartAddress>[] = [
      { narId: "nar2" },
      { uploadId: "up" },
      { partNumber: 4 },
      { md5: "1B2M2Y8AsgTpgAmY7PhCfg==" },
      { expires: 2000 },
      { expires: Number.NaN },
      { signature: "" },
    ];
    for (const change of changes) assert.ok(!checkPartUrl({ ...claimed, ...change }, 0, "key"));
  });
});
