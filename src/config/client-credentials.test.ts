import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { inspect } from "node:util";
import { CACHIX_KEY, NIX_KEY, useCredentialRig } from "../../test/credential-rig.ts";
import type { HandpickError } from "../error.ts";
import type { CacheConfig } from "./config.ts";

describe("readCredentials(), with the configuration of a client", () => {
  const rig = useCredentialRig();
  const { put, read } = rig;

  it("takes the cachix.dhall that the configuration names, which has to be there", async () => {
    const clientFile = await put("elsewhere.dhall", '{ authToken = "t", hostname = "http://h" }');
    await put("cachix/cachix.dhall", '{ authToken = "unused" }');
    const found = await read({ clientFile });
    assert.deepEqual([found.tokenSource, found.host], [`file ${clientFile}`, "http://h"]);
    const absent = join(rig.dir, "absent");
    await assert.rejects(read({ clientFile: absent }), { code: "TOKEN_MISSING" });
    const known = { clientFile: absent, host: "http://h" };
    const env = { CACHIX_AUTH_TOKEN: "t" };
    assert.match((await read(known, env)).warnings.join(), /absent is ignored: .* does not exist$/);
  });

  it("keeps the variables and the file of the cachix client away from other caches", async () => {
    await put("cachix/cachix.dhall", '{ authToken = "t", hostname = "http://h" }');
    const env = { CACHIX_AUTH_TOKEN: "t", CACHIX_SIGNING_KEY: CACHIX_KEY };
    const { token, signingKeys, host } = await read({ url: "attic://server/tools" }, env);
    assert.deepEqual([token, signingKeys, host], [undefined, [], undefined]);
  });

  it("takes the server from the configuration, else from cachix.dhall", async () => {
    await put("cachix/cachix.dhall", '{ hostname = "http://dhall" }');
    assert.equal((await read({})).host, "http://dhall");
    assert.equal((await read({ host: "http://own" })).host, "http://own");
  });

  it("passes over a bad cachix.dhall only if token and server are known without it", async () => {
    const path = await put("cachix/cachix.dhall", "let x = 1 in x");
    const env = { CACHIX_AUTH_TOKEN: "t" };
    await assert.rejects(read({}), { code: "CONFIG_INVALID" });
    await assert.rejects(read({}, env), { code: "CONFIG_INVALID", hint: /host of this cache/ });
    const { token, warnings } = await read({ host: "https://cachix.org" }, env);
    assert.equal(token?.reveal(), "t");
    assert.equal(warnings.length, 1);
    assert.match(warnings[0] ?? "", /is ignored: Cannot read .*"let" is not supported$/);
    assert.ok(warnings[0]?.startsWith(`file ${path}`));
  });

  it("lets no variable into a found file's cachix.dhall", async () => {
    const foundFile = join(rig.dir, "handpick.toml");
    const clientFile = await put("its.dhall", "{ authToken = env:ANY as Text }");
    assert.equal((await read({ clientFile }, { ANY: "t" })).token?.reveal(), "t");
    const message = /found and not named takes no variables$/;
    const hint = `If you trust it, name it: --config ${foundFile}`;
    const refusal = { code: "CONFIG_UNTRUSTED", message, hint };
    await assert.rejects(read({ clientFile, foundFile }, { ANY: "t" }), refusal);
  });

  it("takes the login of a web server from systemd, netrc-file, or the netrc of Nix, if there is no token", async () => {
    const url = "https://h.example/nix";
    const line = (user: string): string =>
      `machine h.example login ${user} password pw-of-${user}\n`;
    const ofNix = await put("etc/netrc", line("nix"));
    const clientFile = await put("its-netrc", line("table"));
    const systemd = await put("systemd/netrc@mine", line("unit"));
    const tokenFile = await put("token", "t0ken");
    const env = { NIX_CONF_DIR: join(rig.dir, "etc"), NIX_USER_CONF_FILES: "" };
    const unit = { ...env, CREDENTIALS_DIRECTORY: join(rig.dir, "systemd") };
    for (const [cache, given, user, source] of [
      [{ clientFile }, unit, "unit", systemd],
      [{ clientFile }, env, "table", clientFile],
      [{}, env, "nix", ofNix],
    ] as const) {
      const { login, loginSource, warnings } = await read({ url, ...cache }, given);
      assert.deepEqual([login?.user, login?.password.reveal()], [user, `pw-of-${user}`]);
      assert.deepEqual([loginSource, warnings], [`file ${source}`, []]);
    }
    const { token, login } = await read({ url, clientFile, tokenFile }, unit);
    assert.deepEqual([token?.reveal(), login], ["t0ken", undefined]);
    assert.equal((await read({ url: "https://other", clientFile }, env)).login, undefined);
  });

  it("passes over the netrc of Nix where it cannot be read, and not one that the table names", async () => {
    const url = "https://h.example/nix";
    const env = { NIX_CONF_DIR: join(rig.dir, "etc"), NIX_USER_CONF_FILES: "" };
    await put("etc/netrc", 'machine h.example password "SECRET', 0o644);
    const { login, warnings, doubts } = await read({ url }, env);
    assert.deepEqual([login, warnings], [undefined, []]);
    assert.match(
      doubts.join(),
      /^file \S+etc\/netrc is ignored: .*line 1 has a quote without end$/,
    );
    await put("etc/netrc", "machine other.example login me", 0o644);
    assert.deepEqual((await read({ url }, env)).warnings, [], "it is of no use here");
    await put("etc/netrc", "default login me", 0o644);
    assert.match((await read({ url }, env)).warnings.join(), /every user of this machine/);
    const named = await put("its-netrc", 'machine h.example password "SECRET');
    const message = /its-netrc: line 1 has a quote without end$/;
    await assert.rejects(read({ url, clientFile: named }, env), {
      code: "CONFIG_INVALID",
      message,
    });
    const tokenFile = await put("token", "t0ken");
    assert.equal((await read({ url, clientFile: named, tokenFile }, env)).token?.reveal(), "t0ken");
    await assert.rejects(read({ url, clientFile: join(rig.dir, "absent") }, env), {
      code: "TOKEN_MISSING",
    });
  });

  describe("of Attic", () => {
    const ATTIC = { url: "attic://cache.example.org/tools" };
    const config = (...lines: readonly string[]): Promise<string> =>
      put(
        "attic/config.toml",
        `[servers.central]\nendpoint = "https://cache.example.org/x"\n${lines.join("\n")}\n`,
      );

    it("takes the token from systemd, file, variable, ATTIC_TOKEN, the file of Attic's client", async () => {
      const tokenFile = await put("token", "from-file\n");
      await put("systemd/mine", "from-systemd");
      await config('token = "from-client"');
      const env = { MINE: "from-variable", ATTIC_TOKEN: "from-attic", CACHIX_AUTH_TOKEN: "other" };
      const found = async (
        cache: Partial<CacheConfig>,
        env: NodeJS.ProcessEnv = {},
      ): Promise<string | undefined> => (await read({ ...ATTIC, ...cache }, env)).token?.reveal();
      const systemd = { ...env, CREDENTIALS_DIRECTORY: join(rig.dir, "systemd") };
      assert.equal(await found({ tokenFile }, systemd), "from-systemd");
      assert.equal(await found({ tokenFile, tokenEnv: "MINE" }, env), "from-file");
      assert.equal(await found({ tokenEnv: "MINE" }, env), "from-variable");
      assert.equal(await found({}, env), "from-attic");
      assert.equal(await found({}), "from-client");
    });

    it("takes host and token of the server that its URL names", async () => {
      const file = await config('token = "from-client"');
      const { token, tokenSource, host } = await read({ url: "attic://central/tools" });
      assert.equal(token?.reveal(), "from-client");
      assert.deepEqual([tokenSource, host], [`file ${file}`, "https://cache.example.org/x"]);
    });

    it("sends the token of the client to no other origin than that of its endpoint", async () => {
      await config('token = "from-client"');
      for (const cache of [
        { url: "attic://central/tools", host: "https://evil.example" },
        { url: "attic://evil.example/tools" },
        { url: "attic://cache.example.org/tools", host: "http://cache.example.org" },
      ]) {
        assert.equal((await read(cache)).token, undefined);
      }
      const { token } = await read({ url: "attic://x/y", host: "https://cache.example.org" });
      assert.equal(token?.reveal(), "from-client");
    });

    it("reads the token from the file that the client names, or warns", async () => {
      const tokenFile = await put("attic-token", " from-its-file\n");
      await config(`token-file = "${tokenFile}"`);
      const { token, tokenSource } = await read(ATTIC);
      assert.deepEqual([token?.reveal(), tokenSource], ["from-its-file", `file ${tokenFile}`]);
      await put("attic-token", "");
      assert.match((await read(ATTIC)).warnings.join(), /names for the token, is empty$/);
      await rm(tokenFile);
      const lost = await read(ATTIC);
      assert.match(lost.warnings.join(), /names for the token, does not exist$/);
      assert.equal(lost.token, undefined);
    });

    it("stops at a file of the client that cannot be read, unless token and host are known", async () => {
      await put("attic/config.toml", 'servers = "SECRET');
      const env = { ATTIC_TOKEN: "t" };
      const reading = read(ATTIC, env);
      await assert.rejects(reading, (error: HandpickError) => {
        assert.equal(error.code, "CONFIG_INVALID");
        return !/SECRET/.test(inspect(error));
      });
      const { token, warnings } = await read({ ...ATTIC, host: "https://h.example" }, env);
      assert.equal(token?.reveal(), "t");
      assert.match(warnings.join(), /config\.toml is ignored/);
    });

    it("has no signing key, whoever names one", async () => {
      await put("systemd/signing-key@mine", NIX_KEY);
      const env = { CREDENTIALS_DIRECTORY: join(rig.dir, "systemd"), CACHIX_SIGNING_KEY: NIX_KEY };
      assert.deepEqual((await read(ATTIC, env)).signingKeys, []);
    });
  });
});
