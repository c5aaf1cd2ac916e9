import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { inspect } from "node:util";
import type { HandpickError } from "../error.ts";
import { generateSecretKey, printSecretKey } from "../nix/key.ts";
import type { CacheConfig } from "./config.ts";
import { type Credentials, readCredentials } from "./credentials.ts";

const CACHE: CacheConfig = {
  name: "mine",
  url: "cachix://tools",
  host: undefined,
  tokenFile: undefined,
  tokenEnv: undefined,
  clientFile: undefined,
  signingKeyFile: undefined,
  sign: "all",
  upstreams: undefined,
  compression: undefined,
  compressionLevel: undefined,
  readUrl: undefined,
  publicKeys: undefined,
  isPublic: undefined,
  optional: false,
  companions: new Set(),
  foundFile: undefined,
};
const KEY = generateSecretKey("tools-1");
const NIX_KEY = printSecretKey(KEY, "nix");
const CACHIX_KEY = printSecretKey(KEY, "cachix");

describe("readCredentials()", () => {
  let dir = "";
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), "handpick-credentials-"));
  });
  afterEach(() => rm(dir, { recursive: true }));

  const put = async (name: string, text: string, mode = 0o600): Promise<string> => {
    const path = join(dir, name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, text);
    await chmod(path, mode);
    return path;
  };
  const read = (cache: Partial<CacheConfig>, env: NodeJS.ProcessEnv = {}): Promise<Credentials> =>
    readCredentials(
      { ...CACHE, ...cache },
      {
        env: { XDG_CONFIG_HOME: dir, ...env },
        uid: cache.foundFile === undefined ? 1000 : process.getuid?.(),
      },
    );

  it("finds nothing where there is nothing", async () => {
    assert.deepEqual(await read({}), {
      token: undefined,
      tokenSource: undefined,
      login: undefined,
      loginSource: undefined,
      signingKey: undefined,
      keySource: undefined,
      host: undefined,
      warnings: [],
      doubts: [],
    });
  });

  it("takes the token from systemd, file, variable, CACHIX_AUTH_TOKEN, cachix.dhall", async () => {
    const tokenFile = await put("token", "from-file\n");
    const systemd = await put("systemd/mine", "from-systemd\n");
    const dhall = await put("cachix/cachix.dhall", '{ authToken = "from-dhall" }');
    const env = {
      MINE: "from-variable",
      CREDENTIALS_DIRECTORY: join(dir, "systemd"),
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
    const other = { ...env, CREDENTIALS_DIRECTORY: dir };
    assert.deepEqual(await found(named, other), ["from-file", `file ${tokenFile}`]);
    assert.deepEqual(await found({ tokenEnv: "MINE" }, other), ["from-variable", "variable MINE"]);
    const rest = { CACHIX_AUTH_TOKEN: "from-cachix", CREDENTIALS_DIRECTORY: dir };
    assert.deepEqual(await found({}, rest), ["from-cachix", "variable CACHIX_AUTH_TOKEN"]);
    assert.deepEqual(await found({}, {}), ["from-dhall", `file ${dhall}`]);
  });

  it("takes files that systemd gives before those they come from", async () => {
    const systemd = { CREDENTIALS_DIRECTORY: join(dir, "systemd") };
    const key = await put("systemd/signing-key@mine", NIX_KEY);
    const dhall = await put("systemd/cachix.dhall@mine", '{ authToken = "from-systemd" }');
    const unreadable = { signingKeyFile: "/root/key", clientFile: "/root/cachix.dhall" };
    const found = await read(unreadable, systemd);
    assert.deepEqual([found.keySource, found.tokenSource], [`file ${key}`, `file ${dhall}`]);
    assert.equal(found.token?.reveal(), "from-systemd");
  });

  it("takes the cachix.dhall that the configuration names, which has to be there", async () => {
    const clientFile = await put("elsewhere.dhall", '{ authToken = "t", hostname = "http://h" }');
    await put("cachix/cachix.dhall", '{ authToken = "unused" }');
    const found = await read({ clientFile });
    assert.deepEqual([found.tokenSource, found.host], [`file ${clientFile}`, "http://h"]);
    const absent = join(dir, "absent");
    await assert.rejects(read({ clientFile: absent }), { code: "TOKEN_MISSING" });
    const known = { clientFile: absent, host: "http://h" };
    const env = { CACHIX_AUTH_TOKEN: "t" };
    assert.match((await read(known, env)).warnings.join(), /absent is ignored: .* does not exist$/);
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
    assert.equal(fromFile.signingKey?.name, "tools-1");
    const fromVariable = await read({}, { CACHIX_SIGNING_KEY: CACHIX_KEY });
    assert.equal(fromVariable.keySource, "variable CACHIX_SIGNING_KEY");
    assert.equal(fromVariable.signingKey?.name, "tools.cachix.org-1");
    const fromDhall = await read({});
    assert.equal(fromDhall.keySource, `file ${dhall}`);
    assert.deepEqual(fromDhall.signingKey?.reveal(), KEY.reveal());
  });

  it("keeps the variables and the file of the cachix client away from other caches", async () => {
    await put("cachix/cachix.dhall", '{ authToken = "t", hostname = "http://h" }');
    const env = { CACHIX_AUTH_TOKEN: "t", CACHIX_SIGNING_KEY: CACHIX_KEY };
    const { token, signingKey, host } = await read({ url: "attic://server/tools" }, env);
    assert.deepEqual([token, signingKey, host], [undefined, undefined, undefined]);
  });

  it("takes a signing key with a name for a kind without tokens, and nothing else", async () => {
    await put("cachix/cachix.dhall", '{ authToken = "t", hostname = "http://h" }');
    await put("systemd/mine", "token-of-the-unit");
    const env = {
      CACHIX_AUTH_TOKEN: "t",
      CACHIX_SIGNING_KEY: CACHIX_KEY,
      CREDENTIALS_DIRECTORY: join(dir, "systemd"),
    };
    const url = "file:///srv/cache";
    const { token, signingKey, host, warnings } = await read({ url }, env);
    assert.deepEqual([token, signingKey, host, warnings], [undefined, undefined, undefined, []]);
    const signingKeyFile = await put("key", NIX_KEY);
    assert.equal((await read({ url, signingKeyFile }, env)).signingKey?.name, "tools-1");
    await put("key", CACHIX_KEY);
    await assert.rejects(read({ url, signingKeyFile }, env), {
      code: "KEY_INVALID",
      message: `Cannot use the signing key from file ${signingKeyFile}: it has no name`,
    });
  });

  it("takes the server from the configuration, else from cachix.dhall", async () => {
    await put("cachix/cachix.dhall", '{ hostname = "http://dhall" }');
    assert.equal((await read({})).host, "http://dhall");
    assert.equal((await read({ host: "http://own" })).host, "http://own");
  });

  it("takes empty values as absent and says so", async () => {
    await put("systemd/mine", "\n");
    await put("cachix/cachix.dhall", "");
    const { token, signingKey, warnings } = await read(
      { tokenEnv: "UNSET" },
      {
        CREDENTIALS_DIRECTORY: join(dir, "systemd"),
        CACHIX_AUTH_TOKEN: " ",
        CACHIX_SIGNING_KEY: "",
      },
    );
    assert.deepEqual([token, signingKey], [undefined, undefined]);
    assert.deepEqual(warnings, [
      `file ${dir}/systemd/mine is empty and counts as absent`,
      "variable UNSET, named by token-env, is not set",
      "variable CACHIX_AUTH_TOKEN is empty and counts as not set",
      "variable CACHIX_SIGNING_KEY is empty and counts as not set",
      `${dir}/cachix/cachix.dhall is empty`,
    ]);
  });

  it("warns of secrets that every user may read", async () => {
    const tokenFile = await put("token", "t", 0o644);
    assert.deepEqual((await read({ tokenFile })).warnings, [
      `file ${tokenFile} holds a secret and every user of this machine may read it`,
    ]);
  });

  it("reads a pipe that somebody writes into, and waits for that", async () => {
    const tokenFile = join(dir, "pipe");
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
    const absent = join(dir, "absent");
    const cases: [cache: Partial<CacheConfig>, code: string, found: RegExp][] = [
      [{ tokenFile: absent }, "TOKEN_MISSING", /the token of cache "mine" .*: it does not exist$/],
      [{ tokenFile: empty }, "TOKEN_MISSING", /: it is empty$/],
      [{ tokenFile: large }, "CONFIG_UNREADABLE", /: it is larger than 65536 bytes$/],
      [{ tokenFile: dir }, "CONFIG_UNREADABLE", /: it is a folder$/],
      [{ signingKeyFile: absent }, "CONFIG_UNREADABLE", /signing key of .*: it does not exist$/],
      [{ signingKeyFile: empty }, "KEY_INVALID", /: it is empty$/],
    ];
    for (const [cache, code, message] of cases) {
      await assert.rejects(read(cache), { code, message, hint: /the user who runs handpick has/ });
    }
  });

  it("says who reads a file that a unit is to be given", async () => {
    const env = { CREDENTIALS_DIRECTORY: join(dir, "systemd") };
    const hint = /which root has to own .*; systemd reads it when the unit is started\.$/;
    await assert.rejects(read({ tokenFile: join(dir, "absent") }, env), { hint });
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

  it("sends a found file's cache nothing from elsewhere but to Cachix and the user's own host", async () => {
    await put(
      "cachix/cachix.dhall",
      '{ authToken = "dhall", hostname = "https://own.example/api" }',
    );
    const systemd = join(dir, "systemd");
    await put("systemd/mine", "systemd");
    const foundFile = join(dir, "project/handpick.toml");
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
      const { token, signingKey } = await read({ host, foundFile }, env);
      assert.deepEqual(
        [token?.reveal(), signingKey?.name],
        ["variable", "tools.cachix.org-1"],
        host,
      );
      assert.equal((await read({ host, foundFile })).token?.reveal(), "dhall");
    }
    for (const host of unknown) {
      const found = await read({ host, foundFile }, { ...env, CREDENTIALS_DIRECTORY: systemd });
      assert.deepEqual([found.token, found.signingKey, found.host], [undefined, undefined, host]);
      assert.match(found.warnings.join(), /do not go to .*, which it names$/, host);
      assert.equal((await read({ host }, env)).token?.reveal(), "variable", "a believed file");
    }
  });

  it("takes a found file's own token, key and cachix.dhall from its folder, by links as well", async () => {
    const foundFile = join(dir, "project/handpick.toml");
    const tokenFile = await put("project/secrets/token", "project");
    const signingKeyFile = await put("project/key", NIX_KEY);
    const host = "http://127.0.0.1:1";
    const own = { foundFile, tokenFile, signingKeyFile, host };
    const env = { CACHIX_AUTH_TOKEN: "variable" };
    const { token, signingKey } = await read(own, env);
    assert.deepEqual([token?.reveal(), signingKey?.name], ["project", "tools-1"]);
    const text = '{ authToken = "t", hostname = "http://h" }';
    const clientFile = await put("project/its.dhall", text);
    const found = await read({ foundFile, clientFile }, env);
    assert.deepEqual([found.token?.reveal(), found.host], ["t", "http://h"]);
    const outside = await put("outside", "OUTSIDE");
    const link = join(dir, "project/link");
    await symlink("../outside", link);
    for (const file of [outside, link, join(dir, "project-2/token"), "/nowhere"]) {
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
    const missing = join(dir, "project/missing");
    await assert.rejects(read({ ...own, tokenFile: missing }), { code: "TOKEN_MISSING" });
  });

  it("lets no variable into a found file's cachix.dhall", async () => {
    const foundFile = join(dir, "handpick.toml");
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
    const env = { NIX_CONF_DIR: join(dir, "etc"), NIX_USER_CONF_FILES: "" };
    const unit = { ...env, CREDENTIALS_DIRECTORY: join(dir, "systemd") };
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
    const env = { NIX_CONF_DIR: join(dir, "etc"), NIX_USER_CONF_FILES: "" };
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
    await assert.rejects(read({ url, clientFile: join(dir, "absent") }, env), {
      code: "TOKEN_MISSING",
    });
  });

  it("takes an optional cache without its files for one without a token", async () => {
    const absent = { tokenFile: join(dir, "absent"), clientFile: join(dir, "absent.dhall") };
    assert.equal((await read({ ...absent, optional: true })).token, undefined);
    await assert.rejects(read(absent), { code: "TOKEN_MISSING" });
    const tokenFile = await put("token", "t");
    assert.equal((await read({ tokenFile, optional: true })).token?.reveal(), "t");
  });

  it("gives a cache of a found file no file of systemd, whatever its name", async () => {
    const env = { CREDENTIALS_DIRECTORY: join(dir, "systemd") };
    await put("systemd/database", "PASSWORD");
    await put("systemd/signing-key@database", NIX_KEY);
    await put("systemd/cachix.dhall@database", '{ authToken = "t", hostname = "http://h" }');
    const foundFile = join(dir, "project/handpick.toml");
    const { token, signingKey, host } = await read({ name: "database", foundFile }, env);
    assert.deepEqual([token, signingKey, host], [undefined, undefined, undefined]);
    assert.equal((await read({ name: "database" }, env)).token?.reveal(), "PASSWORD");
  });

  it("gives a cache without a table no file of systemd", async () => {
    const folder = join(dir, "systemd");
    await put("systemd/tools", "t");
    const env = { CREDENTIALS_DIRECTORY: folder };
    assert.equal((await read({ name: "cachix://tools" }, env)).token, undefined);
    assert.equal((await read({ name: "tools" }, env)).token?.reveal(), "t");
  });

  it("refuses what is wrapped around a token, or is none, and says what it is", async () => {
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
      const tokenFile = await put("token", text);
      for (const [cache, env] of [
        [{ tokenFile }, {}],
        [{}, { CACHIX_AUTH_TOKEN: text }],
      ] as const) {
        await assert.rejects(read(cache, env), (error: HandpickError) => {
          assert.ok(error.message.endsWith(`, found ${form}`), error.message);
          assert.doesNotMatch(error.message, /SECRET/);
          assert.match(error.hint ?? "", /^Put the token alone there/);
          return error.code === "CONFIG_INVALID";
        });
      }
    }
    const jwt = "eyJhbGciOiJIUzI1NiJ9.eyJkYXRhIjoiMSJ9.c2ln-_";
    for (const token of [jwt, "dG9rZW4=", "YWJjZA==", "a/b+c=", `"\\/+=&<>%x`, "key:value"]) {
      assert.equal((await read({}, { CACHIX_AUTH_TOKEN: token })).token?.reveal(), token);
    }
  });

  it("shows no secret when printed", async () => {
    const env = { CACHIX_AUTH_TOKEN: "tok-hush", CACHIX_SIGNING_KEY: CACHIX_KEY };
    const credentials = await read({}, env);
    const shown =
      inspect(credentials, { depth: 9, showHidden: true }) + JSON.stringify(credentials);
    assert.doesNotMatch(shown, /hush/);
    assert.ok(!shown.includes(CACHIX_KEY.slice(0, 20)));
  });

  describe("of a cache of an Attic server", () => {
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
      const systemd = { ...env, CREDENTIALS_DIRECTORY: join(dir, "systemd") };
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
      const env = { CREDENTIALS_DIRECTORY: join(dir, "systemd"), CACHIX_SIGNING_KEY: NIX_KEY };
      assert.equal((await read(ATTIC, env)).signingKey, undefined);
    });
  });
});
