import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { NO_CREDENTIALS } from "../../test/no-credentials.ts";
import { PAGE_HINT } from "../http/status-error.ts";
import { chooseCache } from "../config/choose-cache.ts";
import { type CacheConfig, parseConfig } from "../config/config.ts";
import { Secret } from "../secret.ts";
import { type ErrorCode, HandpickError } from "../error.ts";
import { withMissingToken } from "./with-missing-token.ts";

const FOUND = "/checkout/handpick.toml";
const WITHHELD = `${FOUND} was found and not named, so no credentials go to http://h`;
const own = chooseCache(parseConfig('[caches.mine]\nurl = "cachix://mine"', "/h.toml", {}));

async function told(
  error: HandpickError,
  {
    token,
    foundFile,
    config = own,
  }: {
    readonly token?: Secret;
    readonly foundFile?: string;
    readonly config?: CacheConfig;
  } = {},
): Promise<HandpickError> {
  const warnings = foundFile === undefined ? [] : [WITHHELD];
  const credentials = { ...NO_CREDENTIALS, token, warnings };
  const opened = { config: { ...config, foundFile }, credentials };
  const ask = async (): Promise<never> => {
    throw error;
  };
  try {
    return await withMissingToken(opened, ask);
  } catch (failed) {
    assert.ok(failed instanceof HandpickError);
    return failed;
  }
}

const failure = (code: ErrorCode, hint = "Check it."): HandpickError =>
  new HandpickError(code, "Cannot ask", { hint });

describe("withMissingToken()", () => {
  it("says of a refusal that no token was sent, and why", async () => {
    const foundFile = FOUND;
    const { code, message, hint } = await told(failure("CACHE_NOT_FOUND"), { foundFile });
    assert.equal(code, "CACHE_NOT_FOUND");
    assert.equal(message, `Cannot ask; no token was sent; ${WITHHELD}`);
    assert.match(hint ?? "", /^Check it\. .* name it: --config \/checkout\/handpick\.toml$/);
  });

  it("does not speak of a token that was not sent as of a wrong one", async () => {
    const { message, hint } = await told(
      failure("CACHE_REFUSED", "Check that the token is valid."),
    );
    assert.equal(message, "Cannot ask; no token was sent");
    assert.match(hint ?? "", /^Set token-file/);
  });

  it("tells of both where nobody answers", async () => {
    const { message, hint } = await told(failure("NETWORK"));
    assert.equal(message, "Cannot ask; there is no token for it either");
    assert.match(hint ?? "", /^Check it\. Set token-file/);
  });

  it("speaks of no token where one may not be needed, unless the cache refuses us or one is named", async () => {
    const table = '[caches.web]\nurl = "https://h/nix"\n';
    const web = chooseCache(parseConfig(table, "/h.toml", {}));
    for (const code of ["NETWORK", "CACHE_NOT_FOUND", "CACHE_READ_ONLY"] as const) {
      const error = failure(code);
      assert.equal(await told(error, { config: web }), error);
    }
    const { message, hint } = await told(failure("CACHE_REFUSED"), { config: web });
    assert.equal(message, "Cannot ask; no token was sent");
    assert.match(hint ?? "", /^Set token-file or netrc-file/);
    const named = chooseCache(parseConfig(`${table}token-env = "T"`, "/h.toml", {}));
    const outage = await told(failure("NETWORK"), { config: named });
    assert.equal(outage.message, "Cannot ask; there is no token for it either");
  });

  it("leaves other errors as they are, and all where a token was sent", async () => {
    const page = failure("CACHE_REFUSED", PAGE_HINT);
    assert.equal(await told(page), page);
    const other = failure("CACHE_PROTOCOL");
    assert.equal(await told(other), other);
    const usb = parseConfig('[caches.usb]\nurl = "file:///srv"', "/h.toml", {});
    assert.equal(
      await told(failure("CACHE_NOT_FOUND"), { config: chooseCache(usb) }).then(
        ({ message }) => message,
      ),
      "Cannot ask",
    );
    for (const code of ["NETWORK", "CACHE_REFUSED", "CACHE_NOT_FOUND"] as const) {
      const error = failure(code);
      assert.equal(await told(error, { token: new Secret("t") }), error);
    }
  });
});
