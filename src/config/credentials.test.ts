import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { symlink } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { inspect } from "node:util";
import { CACHIX_KEY, KEY, NIX_KEY, useCredentialRig } from "../../test/credential-rig.ts";
import { NO_CREDENTIALS } from "../../test/no-credentials.ts";
import { generateSecretKey, printSecretKey, type SecretKey } from "../nix/key.ts";
import type { CacheConfig } from "./config.ts";

describe("readCredentials()", () => {
  const rig = useCredentialRig();
  const { put, read } = rig;

  it("finds nothing where there is nothing", async () => {
    assert.deepEqual(await read({}), NO_CREDENTIALS);
  });

  it("takes the token from systemd, file, variable, CACHIX_AUTH_TOKEN, cachix.dhall", async () => {
    const tokenFile = await put("token", "from-file\n");
    const systemd = await put("systemd/mine", "from-systemd\n");
    const dhall = await put("cachix/cachix.dhall", '{ authToken = "from-dhall" }');
    const env = {
      MINE: "from-variable",
      CREDENTIALS_DIRECTORY: join(rig.dir, "systemd"),
      CACHIX_AUTH_TOKEN: "from-cachix",
    };
    const found = async (
      cache: Partial<CacheConfig>,
      variables: NodeJS.ProcessEnv,
    ): Promise<unknown[]> => {
      const { token, tokenSource, warnings } = await read(cache, variables);
      assert.deepEqual(warnings, []);
      return [token?.reveal(), tokenSource];
    };
    const named = { tokenFile, tokenEnv: "MINE" };
    assert.deepEqual(await found(named, env), ["from-systemd", `file ${systemd}`]);
    const other = { ...env, CREDENTIALS_DIRECTORY: rig.dir };
    assert.deepEqual(await found(named, other), ["from-file", `file ${tokenFile}`]);
    assert.deepEqual(await found({ tokenEnv: "MINE" }, other), ["from-variable", "variable MINE"]);
    const rest = { CACHIX_AUTH_TOKEN: "from-cachix", CREDENTIALS_DIRECTORY: rig.dir };
    assert.deepEqual(await found({}, rest), ["from-cachix", "variable CACHIX_AUTH_TOKEN"]);
    assert.deepEqual(await found({}, {}), ["from-dhall", `file ${dhall}`]);
  });

  it("takes files that systemd gives before those they come from", async () => {
    const systemd = { CREDENTIALS_DIRECTORY: join(rig.dir, "systemd") };
    const key = await put("systemd/signing-key@mine", NIX_KEY);
    const dhall = await put("systemd/cachix.dhall@mine", '{ authToken = "from-systemd" }');
    const unreadable = { signingKeyFile: "/root/key", clientFile: "/root/cachix.dhall" };
    const found = await read(unreadable, systemd);
    assert.deepEqual([found.keySource, found.tokenSource], [`file ${key}`, `file ${dhall}`]);
    assert.equal(found.token?.reveal(), "from-systemd");
  });

  it("takes the key from file, CACHIX_SIGNING_KEY, the last entry of cachix.dhall", async () => {
    const other = printSecretKey(generateSecretKey("x"), "cachix");
    const entry = (name: string, key: string): string =>
      `{ name = "${name}", secretKey = "${key}" }`;
    const entries = [entry("tools", other), entry("tools", CACHIX_KEY), entry("mine", other)];
    const dhall = await put("cachix/cachix.dhall", `{ binaryCaches = [ ${entries.join()} ] }`);
    const signingKeyFile = await put("key", NIX_KEY);
    const fromFile = await read({ signingKeyFile }, { CACHIX_SIGNING_KEY: "unused" });
    assert.equal(fromFile.keySource, `file ${signingKeyFile}`);
    assert.equal(fromFile.signingKeys[0]?.name, "tools-1");
    const fromVariable = await read({}, { CACHIX_SIGNING_KEY: CACHIX_KEY });
    assert.equal(fromVariable.keySource, "variable CACHIX_SIGNING_KEY");
    assert.equal(fromVariable.signingKeys[0]?.name, "tools.cachix.org-1");
    const fromDhall = await read({});
    assert.equal(fromDhall.keySource, `file ${dhall}`);
    assert.deepEqual(fromDhall.signingKeys[0]?.reveal(), KEY.reveal());
  });

  it("takes a signing key with a name for a kind without tokens, and nothing else", async () => {
    await put("cachix/cachix.dhall", '{ authToken = "t", hostname = "http://h" }');
    await put("systemd/mine", "token-of-the-unit");
    const env = {
      CACHIX_AUTH_TOKEN: "t",
      CACHIX_SIGNING_KEY: CACHIX_KEY,
      CREDENTIALS_DIRECTORY: join(rig.dir, "systemd"),
    };
    const url = "file:///srv/cache";
    const { token, signingKeys, host, warnings } = await read({ url }, env);
    assert.deepEqual([token, signingKeys, host, warnings], [undefined, [], undefined, []]);
    const signingKeyFile = await put("key", NIX_KEY);
    assert.equal((await read({ url, signingKeyFile }, env)).signingKeys[0]?.name, "tools-1");
    await put("key", CACHIX_KEY);
    await assert.rejects(read({ url, signingKeyFile }, env), {
      code: "KEY_INVALID",
      message: `Cannot use the signing key from file ${signingKeyFile}: it has no name`,
    });
  });

  it("reads several signing keys, one a line", async () => {
    const [old, next] = ["old-1", "next-1"].map((name) => generateSecretKey(name)) as [
      SecretKey,
      SecretKey,
    ];
    const text = (...keys: readonly SecretKey[]): string =>
      `${keys.map((key) => printSecretKey(key, "nix")).join("\n\n")}\n`;
    const url = "file:///srv/cache";
    const signingKeyFile = await put("key", text(next, old));
    const { signingKeys } = await read({ url, signingKeyFile });
    assert.deepEqual(
      signingKeys.map(({ name }) => name),
      ["next-1", "old-1"],
    );
    for (const [content, message] of [
      [text(old, generateSecretKey("old-1")), /: two of its keys are named old-1$/],
      [`${text(old)}rest`, /: Cannot read signing key|: expected/],
      [text(...Array.from({ length: 17 }, (_, n) => generateSecretKey(`k-${n}`))), /more than 16/],
    ] as const) {
      await put("key", content);
      await assert.rejects(read({ url, signingKeyFile }), { code: "KEY_INVALID", message });
    }
  });

  it("takes empty values as absent and says so", async () => {
    await put("systemd/mine", "\n");
    await put("cachix/cachix.dhall", "");
    const { token, signingKeys, warnings } = await read(
      { tokenEnv: "UNSET" },
      {
        CREDENTIALS_DIRECTORY: join(rig.dir, "systemd"),
        CACHIX_AUTH_TOKEN: " ",
        CACHIX_SIGNING_KEY: "",
      },
    );
    assert.deepEqual([token, signingKeys], [undefined, []]);
    assert.deepEqual(warnings, [
      `file ${rig.dir}/systemd/mine is empty and counts as absent`,
      "variable UNSET, named by token-env, is not set",
      "variable CACHIX_AUTH_TOKEN is empty and counts as not set",
      "variable CACHIX_SIGNING_KEY is empty and counts as not set",
      `${rig.dir}/cachix/cachix.dhall is empty`,
    ]);
  });

  it("warns of secrets that every user may read", async () => {
    const tokenFile = await put("token", "t", 0o644);
    assert.deepEqual((await read({ tokenFile })).warnings, [
      `file ${tokenFile} holds a secret and every user of this machine may read it`,
    ]);
  });

  it("reads a pipe that somebody writes into, and waits for that", async () => {
    const tokenFile = join(rig.dir, "pipe");
    execFileSync("mkfifo", [tokenFile]);
    const reading = read({ tokenFile });
    const pipe = createWriteStream(tokenFile);
    await once(pipe, "open");
    pipe.write("piped-");
    pipe.end("token\n");
    assert.equal((await reading).token?.reveal(), "piped-token");
  });

  it("refuses named files that are missing, empty, too large or folders", async () => {
    const empty = await put("empty", "\n");
    const large = await put("large", "x".repeat(64 * 1024 + 1));
    const absent = join(rig.dir, "absent");
    const cases: [cache: Partial<CacheConfig>, code: string, found: RegExp][] = [
      [{ tokenFile: absent }, "TOKEN_MISSING", /the token of cache "mine" .*: it does not exist$/],
      [{ tokenFile: empty }, "TOKEN_MISSING", /: it is empty$/],
      [{ tokenFile: large }, "CONFIG_UNREADABLE", /: it is larger than 65536 bytes$/],
      [{ tokenFile: rig.dir }, "CONFIG_UNREADABLE", /: it is a folder$/],
      [{ signingKeyFile: absent }, "CONFIG_UNREADABLE", /signing key of .*: it does not exist$/],
      [{ signingKeyFile: empty }, "KEY_INVALID", /: it is empty$/],
    ];
    for (const [cache, code, message] of cases) {
      await assert.rejects(read(cache), { code, message, hint: /the user who runs handpick has/ });
    }
  });

  it("says who reads a file that a unit is to be given", async () => {
    const env = { CREDENTIALS_DIRECTORY: join(rig.dir, "systemd") };
    const hint = /which root has to own .*; systemd reads it when the unit is started\.$/;
    await assert.rejects(read({ tokenFile: join(rig.dir, "absent") }, env), { hint });
  });

  it("refuses tokens and keys that are none without repeating them", async () => {
    const refused = async (env: NodeJS.ProcessEnv, code: string): Promise<void> => {
      await assert.rejects(read({}, env), (error: Error) => {
        assert.equal((error as { code?: unknown }).code, code);
        assert.doesNotMatch(inspect(error), /SECRET/);
        return true;
      });
    };
    for (const token of ["SECRET\nline", "SECRET word", "SECRETé", "SECRET\u007f"]) {
      await refused({ CACHIX_AUTH_TOKEN: token }, "CONFIG_INVALID");
    }
    await refused({ CACHIX_SIGNING_KEY: "SECRET" }, "KEY_INVALID");
    await refused({ CACHIX_SIGNING_KEY: `name:${"SECRET".repeat(9)}` }, "KEY_INVALID");
  });

  it("sends a found file's cache nothing from elsewhere but to Cachix and the user's own host", async () => {
    await put(
      "cachix/cachix.dhall",
      '{ authToken = "dhall", hostname = "https://own.example/api" }',
    );
    const systemd = join(rig.dir, "systemd");
    await put("systemd/mine", "systemd");
    const foundFile = join(rig.dir, "project/handpick.toml");
    const env = { CACHIX_AUTH_TOKEN: "variable", CACHIX_SIGNING_KEY: CACHIX_KEY };
    const known = ["https://cachix.org", "https://app.cachix.org/", "https://own.example/api"];
    const unknown = [
      "http://cachix.org",
      "https://cachix.org:8443",
      "https://cachix.org.evil.example",
      "https://evilcachix.org",
      "https://own.example",
      "http://own.example/api",
      "http://127.0.0.1:8080",
      "http://localhost",
      "http://[::1]:1",
    ];
    for (const host of [undefined, ...known]) {
      const { token, signingKeys } = await read({ host, foundFile }, env);
      assert.deepEqual(
        [token?.reveal(), signingKeys[0]?.name],
        ["variable", "tools.cachix.org-1"],
        host,
      );
      assert.equal((await read({ host, foundFile })).token?.reveal(), "dhall");
    }
    for (const host of unknown) {
      const found = await read({ host, foundFile }, { ...env, CREDENTIALS_DIRECTORY: systemd });
      assert.deepEqual([found.token, found.signingKeys, found.host], [undefined, [], host]);
      assert.match(found.warnings.join(), /do not go to .*, which it names$/, host);
      assert.equal((await read({ host }, env)).token?.reveal(), "variable", "a believed file");
    }
  });

  it("takes a found file's own token, key and cachix.dhall from its folder, by links as well", async () => {
    const foundFile = join(rig.dir, "project/handpick.toml");
    const tokenFile = await put("project/secrets/token", "project");
    const signingKeyFile = await put("project/key", NIX_KEY);
    const host = "http://127.0.0.1:1";
    const own = { foundFile, tokenFile, signingKeyFile, host };
    const env = { CACHIX_AUTH_TOKEN: "variable" };
    const { token, signingKeys } = await read(own, env);
    assert.deepEqual([token?.reveal(), signingKeys[0]?.name], ["project", "tools-1"]);
    const text = '{ authToken = "t", hostname = "http://h" }';
    const clientFile = await put("project/its.dhall", text);
    const found = await read({ foundFile, clientFile }, env);
    assert.deepEqual([found.token?.reveal(), found.host], ["t", "http://h"]);
    const outside = await put("outside", "OUTSIDE");
    const link = join(rig.dir, "project/link");
    await symlink("../outside", link);
    for (const file of [outside, link, join(rig.dir, "project-2/token"), "/nowhere"]) {
      const message = /outside of its folder$/;
      await assert.rejects(read({ ...own, tokenFile: file }), {
        code: "CONFIG_UNTRUSTED",
        message,
      });
      await assert.rejects(read({ ...own, clientFile: file }), {
        code: "CONFIG_UNTRUSTED",
        message,
      });
    }
    const missing = join(rig.dir, "project/missing");
    await assert.rejects(read({ ...own, tokenFile: missing }), { code: "TOKEN_MISSING" });
  });

  it("takes an optional cache without its files for one without a token", async () => {
    const absent = {
      tokenFile: join(rig.dir, "absent"),
      clientFile: join(rig.dir, "absent.dhall"),
    };
    assert.equal((await read({ ...absent, optional: true })).token, undefined);
    await assert.rejects(read(absent), { code: "TOKEN_MISSING" });
    const tokenFile = await put("token", "t");
    assert.equal((await read({ tokenFile, optional: true })).token?.reveal(), "t");
  });

  it("gives a cache of a found file no file of systemd, whatever its name", async () => {
    const env = { CREDENTIALS_DIRECTORY: join(rig.dir, "systemd") };
    await put("systemd/database", "PASSWORD");
    await put("systemd/signing-key@database", NIX_KEY);
    await put("systemd/cachix.dhall@database", '{ authToken = "t", hostname = "http://h" }');
    const foundFile = join(rig.dir, "project/handpick.toml");
    const { token, signingKeys, host } = await read({ name: "database", foundFile }, env);
    assert.deepEqual([token, signingKeys, host], [undefined, [], undefined]);
    assert.equal((await read({ name: "database" }, env)).token?.reveal(), "PASSWORD");
  });

  it("gives a cache without a table no file of systemd", async () => {
    const folder = join(rig.dir, "systemd");
    await put("systemd/tools", "t");
    const env = { CREDENTIALS_DIRECTORY: folder };
    assert.equal((await read({ name: "cachix://tools" }, env)).token, undefined);
    assert.equal((await read({ name: "tools" }, env)).token?.reveal(), "t");
  });

  it("shows no secret when printed", async () => {
    const env = { CACHIX_AUTH_TOKEN: "tok-hush", CACHIX_SIGNING_KEY: CACHIX_KEY };
    const credentials = await read({}, env);
    const shown =
      inspect(credentials, { depth: 9, showHidden: true }) + JSON.stringify(credentials);
    assert.doesNotMatch(shown, /hush/);
    assert.ok(!shown.includes(CACHIX_KEY.slice(0, 20)));
  });
});
