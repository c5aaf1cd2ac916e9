import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";

import { createFakeClock } from "../../../test/fakes/clock.ts";
import { startPutServer } from "../../../test/fakes/put-server.ts";
import { DAV, type Nginx, type NginxOptions, nginxSkip, startNginx } from "../../../test/nginx.ts";
import { sampleUpload } from "../../../test/sample-upload.ts";
import { HandpickError } from "../../error.ts";
import { hashPartOf } from "../../nix/store-path.ts";
import { Secret } from "../../secret.ts";
import type { OpenCacheOptions } from "../kind.ts";
import { openCache } from "../open-cache.ts";

const { signal } = new AbortController();

/** Publishes a path of several parts; returns the error, if that fails. */
async function push(
  nginx: Nginx,
  options: Partial<OpenCacheOptions> = {},
): Promise<HandpickError | undefined> {
  const clock = createFakeClock();
  await using cache = await openCache({ name: "mine", url: nginx.url, env: {}, clock, ...options });
  const sample = sampleUpload({ name: "app", parts: 3 });
  try {
    const upload = await cache.beginUpload(sample.request, signal);
    for (const part of sample.parts) await upload.putPart(part, signal);
    await upload.publish(sample.packed, signal);
    const hashes = [hashPartOf(sample.storePath)];
    assert.deepEqual(await cache.missing(hashes, signal), new Set());
    return undefined;
  } catch (error) {
    assert.ok(error instanceof HandpickError, String(error));
    return error;
  }
}

async function failure(options: NginxOptions): Promise<[string, string, string]> {
  await using nginx = await startNginx(options);
  const error = await push(nginx);
  return [error?.code ?? "", error?.message ?? "", error?.hint ?? ""];
}

describe("a cache on a real nginx", { skip: nginxSkip() }, () => {
  it("takes user and password where nginx asks for them", async () => {
    const location = [...DAV, 'auth_basic "cache";', "auth_basic_user_file users;"];
    await using nginx = await startNginx({ location, users: ["me:pw"] });
    assert.equal((await push(nginx))?.code, "CACHE_REFUSED");
    const wrong = { user: "me", password: new Secret("no") };
    assert.equal((await push(nginx, { login: wrong }))?.code, "CACHE_REFUSED");
    const login = { user: "me", password: new Secret("pw") };
    assert.equal(await push(nginx, { login }), undefined);
  });

  it("takes a token where nginx compares it, for writing only", async () => {
    const check = [
      'set $who "$request_method $http_authorization";',
      'if ($who !~ "^(GET|HEAD|PUT Bearer t0ken$)") { return 401; }',
    ];
    await using nginx = await startNginx({ location: [...check, ...DAV] });
    assert.equal((await push(nginx))?.code, "CACHE_REFUSED");
    assert.equal(await push(nginx, { token: new Secret("t0ken") }), undefined);
  });

  it("says what is missing in its settings", async () => {
    const [readOnly, , off] = await failure({ location: [] });
    assert.deepEqual([readOnly, /dav_methods PUT of nginx/.test(off)], ["CACHE_READ_ONLY", true]);
    const [code, found, parents] = await failure({ location: ["dav_methods PUT;"] });
    assert.equal(code, "CACHE_UNAVAILABLE");
    assert.match(found, /received status 500: a page, "500 Internal Server Error"$/);
    assert.match(parents, /create_full_put_path is off/);
    const small = ["dav_methods PUT;", "create_full_put_path on;", "client_max_body_size 100;"];
    const [, large, limit] = await failure({ location: small });
    assert.match(large, /received status 413: a page, "413 Request Entity Too Large"$/);
    assert.match(limit, /client_max_body_size 0/);
    const denied = [...DAV, "limit_except GET { deny all; }"];
    assert.equal((await failure({ location: denied }))[0], "CACHE_REFUSED");
  });

  it("names the address that nginx leads to", async () => {
    const moved = ["if ($request_method = PUT) { return 308 https://new.example$request_uri; }"];
    const [code, message] = await failure({ location: moved });
    assert.equal(code, "CACHE_PROTOCOL");
    assert.match(message, /received status 308 to https:\/\/new\.example\/cache\/nix-cache-info:/);
  });

  it("does not write into a narinfo that readers have open", async () => {
    await using nginx = await startNginx();
    assert.equal(await push(nginx), undefined);
    const { storePath } = sampleUpload({ name: "app" });
    const file = join(nginx.dir, `${hashPartOf(storePath)}.narinfo`);
    await writeFile(file, "damaged");
    assert.equal(await push(nginx), undefined);
  });

  for (const buffering of ["on", "off"]) {
    it(`is reached through a proxy with request buffering ${buffering}`, async () => {
      await using server = await startPutServer();
      const location = [
        `proxy_pass ${server.url}/;`,
        `proxy_request_buffering ${buffering};`,
        "proxy_http_version 1.1;",
        "client_max_body_size 0;",
      ];
      await using nginx = await startNginx({ location });
      assert.equal(await push(nginx), undefined);
      const nars = server.requests.filter(
        ({ method, name }) => method === "PUT" && name.startsWith("nar/"),
      );
      const { file } = sampleUpload({ name: "app" });
      assert.deepEqual(
        nars.map(({ headers }) => headers["content-length"]),
        [`${file.length}`],
      );
    });
  }

  it("waits for a server behind a proxy to come back, and says if it does not", async () => {
    await using nginx = await startNginx({ location: ["proxy_pass http://127.0.0.1:1/;"] });
    const { code, message } = (await push(nginx)) ?? {};
    assert.equal(code, "CACHE_UNAVAILABLE");
    assert.match(message ?? "", /received status 502: a page, "502 Bad Gateway"$/);
  });
});
