import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { chmod, chown, mkdir, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { join } from "node:path";
import { TLSSocket } from "node:tls";
import { after, before, beforeEach, describe, it } from "node:test";

import { fileUrl } from "../src/cache/file/file-url.ts";
import { startFakeCachix } from "./fakes/cachix.ts";
import type { FakeCachix } from "./fakes/cachix.ts";
import { handpick, type Result } from "./handpick.ts";
import { readProject, sections, tableRows } from "./markdown.ts";
import { SyncRig } from "./sync/sync-rig.ts";

const DEFAULT = "token-of-the-user";
const OWN = "token-of-the-project";
const DEFAULTS = { CACHIX_AUTH_TOKEN: DEFAULT, OTHER_SECRET: "another-secret" };
const AWS = {
  AWS_ACCESS_KEY_ID: "AKIAOFTHEUSER",
  AWS_SECRET_ACCESS_KEY: "aws-secret-of-the-user",
  AWS_EC2_METADATA_DISABLED: "true",
};
const isRoot = process.getuid?.() === 0;
const needsRoot = !isRoot && "only root can give files to others";
const needsOpenssl = spawnSync("openssl", ["version"]).status !== 0 && "openssl is not here";

const document = sections(await readProject("docs/trust.md"), 2);
const rows = tableRows(document.get("A `handpick.toml` that was found") ?? "");

describe("what docs/trust.md says of a handpick.toml that was found", { timeout: 180_000 }, () => {
  let rig: SyncRig;
  /** The cache of the user's own configuration, and that of the project's. */
  let ours: FakeCachix;
  let theirs: FakeCachix;
  let project: string;
  let file: string;
  let path: string;
  /** How many requests there were when the test began. */
  let counts: readonly [number, number];
  const tested = new Set<string>();

  before(async () => {
    rig = await SyncRig.create();
    ours = await startFakeCachix();
    theirs = await startFakeCachix();
    for (const { service } of [ours, theirs]) service.token = undefined;
    project = join(rig.nix.dir, "it's a project");
    file = join(project, "handpick.toml");
    path = await rig.nix.add("argument", "given on the command line");
    await rig.declare("home", [{ packages: ["data"] }]);
  });
  beforeEach(async () => {
    await rm(project, { recursive: true, force: true });
    await mkdir(project);
    await users(`[caches.users]\nurl = "cachix://acme"\nhost = "${ours.url}"\n`);
    counts = [ours.requests.length, theirs.requests.length];
  });
  after(async () => {
    await ours.close();
    await theirs.close();
    await rig[Symbol.asyncDispose]();
  });

  /** Writes the user's own file. */
  async function users(text: string): Promise<void> {
    const folder = join(rig.nix.dir, "home/.config/handpick");
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, "config.toml"), text);
  }
  /** Writes the project's file, with a cache at the project's server and more lines for it. */
  async function found(...lines: readonly string[]): Promise<void> {
    await writeFile(file, `[caches.its]\nurl = "cachix://acme"\n${lines.join("\n")}\n`);
  }
  const bucket = (url: string): Promise<void> =>
    writeFile(file, `[caches.its]\nurl = ${JSON.stringify(url)}\n`);
  const atTheirs = (): string => `host = "${theirs.url}"`;
  const run = (
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): Promise<Result> =>
    handpick(rig.nix, args, {
      cwd: project,
      env: { ...rig.env, ...DEFAULTS, ...env },
      uncovered: true,
    });
  /** The credentials that each server was sent since the test began; `nothing` stands for none. */
  const sent = (): { readonly ours: Set<string>; readonly theirs: Set<string> } => {
    const of = ({ requests }: FakeCachix, start = 0): Set<string> =>
      new Set(
        requests
          .slice(start)
          .filter(({ operation }) => operation !== "put")
          .map(({ headers }) => headers.authorization ?? "nothing"),
      );
    return { ours: of(ours, counts[0]), theirs: of(theirs, counts[1]) };
  };
  const nobody = new Set<string>();
  /** Commands that take what is given on the command line, in an order in which they do. */
  const commands = async (): Promise<readonly (readonly string[])[]> => {
    const added = join(rig.nix.dir, `added-${performance.now()}`);
    await writeFile(added, added);
    const adding = ["nix-store", "--add", added];
    return [
      ["plan", path],
      ["push", path],
      ["pin", "name", path],
      ["doctor"],
      ["exec", "--substituted", "--via", "store", "-i", "added-*", "--", ...adding],
    ];
  };
  /** Runs each of them, which the file must not serve, and finds the message of the row in each. */
  async function refusedBy(row: string, env: Readonly<Record<string, string>> = {}): Promise<void> {
    for (const args of await commands()) {
      const result = await run(args, env);
      assert.equal(result.status, 2, `${args[0]}: ${result.stderr}`);
      assertSaid(row, result);
      assert.match(result.stdout + result.stderr, /--config '[^\n]*it'\\''s a project/);
    }
    assert.deepEqual(sent(), { ours: nobody, theirs: nobody });
  }
  function assertSaid(row: string, { stdout, stderr }: Result): void {
    const message = rows.find(([first]) => first === row)?.[2] ?? "";
    assert.notEqual(message, "", row);
    const pieces = message.split("…").map((piece) => piece.replaceAll(/[.\\]/g, String.raw`\$&`));
    assert.match(stdout + stderr, new RegExp(pieces.join(".+")));
  }
  /** A test of the row that begins so. */
  function row(
    start: string,
    task: (row: string) => Promise<void>,
    skip: string | false = false,
  ): void {
    const [title = ""] = rows.find(([first]) => first?.startsWith(start)) ?? [];
    tested.add(title);
    it(`${start}…: ${title}`, { skip }, () => task(title));
  }

  row(
    "belongs to another user",
    async (title) => {
      await found(atTheirs());
      await chown(file, 1234, 1234);
      await refusedBy(title);
      await chmod(project, 0o777);
      await refusedBy(title, { SUDO_UID: "99" });
      await chown(file, 0, 0);
      await chown(project, 1234, 1234);
      const folder = await run(["plan", path]);
      assert.match(folder.stderr, /its folder belongs to user 1234/);
      assert.deepEqual(sent(), { ours: nobody, theirs: nobody });
    },
    needsRoot,
  );

  row(
    "belongs to root or",
    async (title) => {
      await found(atTheirs());
      await chown(project, 1234, 1234);
      await chown(file, 1234, 1234);
      const result = await run(["plan", path], { SUDO_UID: "1234" });
      assert.equal(result.status, 0, result.stderr);
      assertSaid(title, result);
    },
    needsRoot,
  );

  row("may be written by every user", async (title) => {
    await found(atTheirs());
    await chmod(file, 0o666);
    await refusedBy(title);
  });

  row("serves paths given", async (title) => {
    await found(atTheirs(), 'token-file = "token"');
    await writeFile(join(project, "token"), OWN, { mode: 0o600 });
    for (const args of [
      ["plan", path],
      ["push", path],
      ["pin", "name", path],
    ]) {
      const result = await run(args);
      assert.equal(result.status, 0, result.stderr);
      assertSaid(title, result);
      const first = result.stderr.split("\n")[0]?.replace(/^handpick: /, "");
      assert.equal(
        first,
        `using ${file}, found in this folder: its, cachix://acme at ${theirs.url}`,
      );
    }
    assert.deepEqual(sent(), { ours: nobody, theirs: new Set([`Bearer ${OWN}`]) });
  });

  row("serves exec with", async (title) => {
    await found(atTheirs(), 'token-file = "token"');
    await writeFile(join(project, "token"), OWN, { mode: 0o600 });
    const wanted = await rig.select("more", [{ packages: ["lib"] }], "exec");
    await rig.want("more", wanted.manifest);
    const [, , , , exec = []] = await commands();
    // Brings both into the store: an accepted path, and one that a selection wants.
    const result = await run(exec);
    assert.equal(result.status, 0, result.stderr);
    assertSaid(title, result);
    const names = publishedBy(theirs);
    assert.ok(
      names.some((name) => name.startsWith("added-")),
      names.join(),
    );
    assert.ok(!names.includes("lib-exec"));
    assert.deepEqual(sent(), { ours: nobody, theirs: new Set([`Bearer ${OWN}`]) });
    await rig.withdraw("more");
  });

  row("would serve what is wanted", async (title) => {
    await found(atTheirs());
    for (const args of [
      ["sync", "--recheck"],
      ["plan", "--wanted"],
      ["push", "--wanted"],
      ["status"],
    ]) {
      const result = await run(args);
      assert.equal(result.status, 0, `${args[0]}: ${result.stderr}`);
      assertSaid(title, result);
      assert.equal(result.stderr.split("was found in").length, 2, "one note");
    }
    assert.deepEqual(sent(), { ours: new Set([`Bearer ${DEFAULT}`]), theirs: nobody });
    await rm(join(rig.nix.dir, "home/.config/handpick/config.toml"));
    const alone = await run(["sync", "--recheck"]);
    assert.equal(alone.status, 2);
    assert.match(
      alone.stderr,
      /CACHE_UNKNOWN[^]*No configuration is at \S+config\.toml[^]*was found/,
    );
    assert.deepEqual(sent().theirs, nobody);
  });

  row("would serve exec without", async (title) => {
    await found(atTheirs());
    const result = await run(["exec", "--", "true"]);
    assert.equal(result.status, 0, result.stderr);
    assertSaid(title, result);
    assert.deepEqual(sent(), { ours: nobody, theirs: nobody });
  });

  row("would serve prune", async (title) => {
    const folder = join(project, "cache");
    await writeFile(file, `[caches.its]\nurl = "${fileUrl(folder)}"\n`);
    assert.equal((await run(["push", path])).status, 0);
    const before = await readdir(folder, { recursive: true });
    for (const name of ["its", fileUrl(folder)]) {
      const args = ["prune", name, "--keep-wanted", "--this-is-the-only-writer", "--yes"];
      const result = await run([...args, "--keep-days", "0"]);
      assert.equal(result.status, 2, result.stderr);
      assertSaid(title, result);
      assert.match(result.stderr, /--config '[^\n]*it'\\''s a project/);
    }
    assert.deepEqual(await readdir(folder, { recursive: true }), before);
  });
  row("has [builds]", async () => {
    await found(atTheirs(), 'token-file = "token"', "[builds]", 'include = ["*"]');
    await writeFile(join(project, "token"), OWN, { mode: 0o600 });
    const [, , , , exec = []] = await commands();
    const result = await run(exec.map((word) => (word === "added-*" ? "other-*" : word)));
    assert.match(result.stderr, /nothing is pushed: the rules do not accept/);
    assert.deepEqual(sent(), { ours: nobody, theirs: nobody });
  });

  row("has [rules]", async () => {
    await users('[rules]\nexclude = ["argument"]\non-hole = "fail"\n');
    await found(atTheirs(), "[rules]", 'exclude = []\non-hole = "push-anyway"');
    const fresh = await rig.nix.add("argument", "that no cache has yet");
    const result = await run(["plan", "--json", fresh]);
    assert.match(result.stdout, /"exclude-rule"/);
  });

  row(
    "has a cache at Cachix",
    async () => {
      await using cachix = await startCachixBehindProxy(rig.nix.dir, theirs);
      for (const lines of [[], ['host = "https://cachix.org"']]) {
        await found(...lines);
        const result = await run(["plan", path], cachix.env);
        assert.equal(result.status, 0, result.stderr);
      }
      assert.deepEqual(sent(), { ours: nobody, theirs: new Set([`Bearer ${DEFAULT}`]) });
    },
    needsOpenssl,
  );

  row("has a cache at your own server", async () => {
    await using _ = await cachixDhall(`{ authToken = "", hostname = "${theirs.url}" }`);
    for (const lines of [[], [atTheirs()]]) {
      await found(...lines);
      const result = await run(["plan", path]);
      assert.equal(result.status, 0, result.stderr);
    }
    assert.deepEqual(sent(), { ours: nobody, theirs: new Set([`Bearer ${DEFAULT}`]) });
  });

  row("names a host elsewhere", async (title) => {
    await using _ = await cachixDhall('{ authToken = "token-of-the-dhall" }');
    const folder = join(rig.nix.dir, "credentials");
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, "its"), "token-of-the-unit", { mode: 0o600 });
    const env = { CREDENTIALS_DIRECTORY: folder };
    await found(atTheirs());
    for (const args of await commands()) assertNotSaid(await run(args, env));
    assertSaid(title, await run(["push", path], env));
    await found('host = "http://cachix.org"');
    assertSaid(title, await run(["doctor"], { ...env, http_proxy: theirs.url }));
    assert.deepEqual(sent(), { ours: nobody, theirs: new Set(["nothing"]) });
  });

  row("has a dhall-file that names", async (title) => {
    await found('dhall-file = "./evil.dhall"');
    await writeFile(join(project, "evil.dhall"), `{ hostname = "${theirs.url}" }`);
    for (const args of await commands()) assertNotSaid(await run(args));
    assertSaid(title, await run(["push", path]));
    assert.deepEqual(sent(), { ours: nobody, theirs: new Set(["nothing"]) });
  });

  row("has a token or key", async () => {
    const { secretKey } = await keys();
    await writeFile(join(project, "token"), OWN, { mode: 0o600 });
    await writeFile(join(project, "key"), secretKey, { mode: 0o600 });
    const dhall = `{ authToken = "${OWN}", hostname = "${theirs.url}" }`;
    await writeFile(join(project, "its.dhall"), dhall, { mode: 0o600 });
    await symlink("token", join(project, "link"));
    for (const lines of [
      [atTheirs(), 'token-file = "token"', 'signing-key-file = "key"'],
      [atTheirs(), 'token-file = "./link"'],
      ['dhall-file = "its.dhall"'],
    ]) {
      await found(...lines);
      const result = await run(["plan", path]);
      assert.equal(result.status, 0, result.stderr);
    }
    assert.deepEqual(sent(), { ours: nobody, theirs: new Set([`Bearer ${OWN}`]) });
  });

  row("names a file outside", async (title) => {
    const secret = join(rig.nix.dir, "home/one-word-secret");
    await writeFile(secret, "one-word-secret", { mode: 0o600 });
    await symlink(secret, join(project, "link"));
    for (const line of [
      'token-file = "link"',
      `token-file = "${secret}"`,
      'token-file = "../home/one-word-secret"',
      'token-file = "${XDG_CONFIG_HOME}/../one-word-secret"',
      'token-file = "/nowhere/at/all"',
      `token-file = "${project}-and-more"`,
      `dhall-file = "${secret}"`,
      'signing-key-file = "link"',
    ]) {
      await found(atTheirs(), line);
      const result = await run(["push", path]);
      assert.equal(result.status, 2, `${line}: ${result.stderr}`);
      assertSaid(title, result);
    }
    await found(atTheirs(), 'token-file = "link"');
    const doctor = await run(["doctor"]);
    assert.equal(doctor.status, 2);
    assertSaid(title, doctor);
    assert.deepEqual(sent(), { ours: nobody, theirs: nobody });
  });

  row(
    "names a file of another user",
    async (title) => {
      await writeFile(join(project, "token"), OWN);
      await chown(join(project, "token"), 1234, 1234);
      await found(atTheirs(), 'token-file = "token"');
      const result = await run(["push", path]);
      assert.equal(result.status, 2, result.stderr);
      assertSaid(title, result);
      assert.deepEqual(sent(), { ours: nobody, theirs: nobody });
    },
    needsRoot,
  );

  row("names a variable", async (title) => {
    await found(atTheirs(), 'token-env = "OTHER_SECRET"');
    await refusedBy(title);
  });

  row("has a dhall-file that takes", async (title) => {
    await found(atTheirs(), 'dhall-file = "its.dhall"');
    for (const text of [
      "{ authToken = env:OTHER_SECRET as Text }",
      `{ hostname = "${theirs.url}/" ++ env:OTHER_SECRET as Text }`,
    ]) {
      await writeFile(join(project, "its.dhall"), text);
      const result = await run(["push", path]);
      assert.equal(result.status, 2, result.stderr);
      assertSaid(title, result);
    }
    assert.deepEqual(sent(), { ours: nobody, theirs: nobody });
  });

  row("names upstreams", async (title) => {
    await found(atTheirs(), 'upstreams = ["http://evil.example"]');
    await refusedBy(title);
  });

  row("has a cache file:// in its folder", async (title) => {
    const folder = join(project, "new/cache");
    await mkdir(join(project, "new"));
    await writeFile(file, `[caches.its]\nurl = "${fileUrl(folder)}"\n`);
    const result = await run(["push", path]);
    assert.equal(result.status, 0, result.stderr);
    assertSaid(title, result);
    assert.ok((await readdir(folder)).includes("nix-cache-info"));
    assert.deepEqual(sent(), { ours: nobody, theirs: nobody });
  });

  row("has a cache file:// elsewhere", async (title) => {
    const elsewhere = join(rig.nix.dir, "elsewhere");
    await mkdir(elsewhere, { recursive: true });
    await symlink(elsewhere, join(project, "link"));
    for (const folder of [elsewhere, join(project, "link"), join(project, "link/new")]) {
      await writeFile(file, `[caches.its]\nurl = "${fileUrl(folder)}"\n`);
      await refusedBy(title);
    }
    assert.deepEqual(await readdir(elsewhere), []);
  });

  row("has a cache attic://", async (title) => {
    const table = '[caches.its]\nurl = "attic://evil.example/acme"\n';
    for (const lines of ["", `host = "${theirs.url}"\n`, `host = "${ours.url}"\n`]) {
      await writeFile(file, table + lines);
      await refusedBy(title, { ATTIC_TOKEN: DEFAULT });
    }
  });

  row("has a cache http://", async (title) => {
    for (const url of [theirs.url, "https://cache.example.org/nix"]) {
      await writeFile(file, `[caches.its]\nurl = "${url}"\nupstreams = []\n`);
      await refusedBy(title);
    }
  });

  row("has a cache s3:// at AWS", async (title) => {
    const asked: string[] = [];
    const proxy = createServer().on("connect", ({ url }, socket) => {
      asked.push(url ?? "");
      socket.end("HTTP/1.1 403 Forbidden\r\n\r\n");
    });
    proxy.unref();
    await new Promise<void>((resolve) => void proxy.listen(0, "127.0.0.1", resolve));
    const https_proxy = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    await bucket("s3://some-bucket?region=eu-west-1");
    const result = await run(["plan", path], { ...AWS, https_proxy });
    assertSaid(title, result);
    assert.deepEqual(new Set(asked), new Set(["some-bucket.s3.eu-west-1.amazonaws.com:443"]));
    await new Promise((resolve) => proxy.close(resolve));
  });

  for (const [start, parameter] of [
    ["has a cache s3:// with an endpoint", () => `endpoint=${new URL(theirs.url).host}`],
    ["has a cache s3:// with a profile", () => "profile=work"],
    ["has a cache s3:// with scheme=http", () => "scheme=http"],
  ] as const) {
    row(start, async (title) => {
      await bucket(`s3://some-bucket?${parameter()}`);
      await refusedBy(title, AWS);
    });
  }

  row("lies in a folder", async () => {
    await found(atTheirs(), 'token-env = "OTHER_SECRET"');
    await users(`[projects]\ntrusted = [${JSON.stringify(project)}]\n`);
    const result = await run(["sync", "--recheck"]);
    assert.equal(result.status, 0, result.stderr);
    const token = `Bearer ${DEFAULTS.OTHER_SECRET}`;
    assert.deepEqual(sent(), { ours: nobody, theirs: new Set([token]) });
  });

  it("is tested row by row", () => {
    assert.deepEqual(
      [...tested],
      rows.map(([first]) => first),
    );
  });

  it("is explained by doctor", async () => {
    await found(atTheirs());
    const both = await run(["doctor"]);
    assert.match(
      both.stdout,
      /configuration: .* found in this folder .*selections go by \S+config\.toml\n/,
    );
    await rm(join(rig.nix.dir, "home/.config/handpick/config.toml"));
    const alone = await run(["doctor"]);
    assert.match(
      alone.stdout,
      /warning configuration: .* not named.*\n +Selections .* have no configuration: write/,
    );
  });

  function assertNotSaid({ stdout, stderr }: Result): void {
    assert.ok(!`${stdout}${stderr}`.includes(DEFAULT));
  }

  /** Writes the `cachix.dhall` of Cachix's client, and removes it again. */
  async function cachixDhall(text: string): Promise<AsyncDisposable> {
    const folder = join(rig.nix.dir, "home/.config/cachix");
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, "cachix.dhall"), text, { mode: 0o600 });
    return { [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) };
  }

  async function keys(): Promise<{ readonly secretKey: string }> {
    const out = join(rig.nix.dir, "made.sec");
    await rm(out, { force: true });
    assert.equal((await run(["keygen", "--out", out, "acme.cachix.org-1"])).status, 0);
    return { secretKey: await readFile(out, "utf8") };
  }
});

describe("caches that a selection names", { timeout: 60_000 }, () => {
  it("are told apart by table and URL in push, sync and ledger", async () => {
    await using rig = await SyncRig.create();
    await using company = await startFakeCachix("company");
    await using mine = await startFakeCachix("mine");
    for (const { service } of [company, mine]) service.token = undefined;
    const home = join(rig.nix.dir, "home/.config");
    await mkdir(join(home, "handpick"), { recursive: true });
    await mkdir(join(home, "cachix"), { recursive: true });
    const table = `[caches.mine]\nurl = "cachix://company/"\nhost = "${company.url}"\n`;
    await writeFile(join(home, "handpick/config.toml"), table);
    // Where a cache without a table is.
    await writeFile(join(home, "cachix/cachix.dhall"), `{ hostname = "${mine.url}" }`, {
      mode: 0o600,
    });
    const credentials = join(rig.nix.dir, "credentials");
    await mkdir(credentials);
    await writeFile(join(credentials, "mine"), "token-of-the-company", { mode: 0o600 });
    const selected = await rig.declare("both", [
      { packages: ["lib"], caches: ["mine"] },
      { packages: ["data"], caches: ["cachix://mine"] },
      { packages: ["app"], caches: ["cachix://company"] },
    ]);
    const env = {
      ...rig.env,
      CACHIX_AUTH_TOKEN: "token-of-the-user",
      CREDENTIALS_DIRECTORY: credentials,
    };
    const pushed = await handpick(rig.nix, ["push", "--json", selected.manifest], { env });
    assert.equal(pushed.status, 0, pushed.stderr);
    assert.deepEqual(publishedBy(company).toSorted(), ["app-1", "lib-1"]);
    assert.deepEqual(publishedBy(mine), ["data-1"]);
    const events = pushed.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Event);
    const names = events.flatMap((one) => (one.event === "pushed" ? [one.cache] : []));
    assert.deepEqual(names.toSorted(), ["cachix://mine", "mine", "mine"]);
    const synced = await handpick(rig.nix, ["sync"], { env });
    assert.equal(synced.status, 0, synced.stderr);
    assert.deepEqual(
      rig.ledger("SELECT DISTINCT cache FROM entries ORDER BY cache"),
      [{ cache: "cachix://mine" }, { cache: "mine" }].map((row) =>
        Object.assign(Object.create(null), row),
      ),
    );
    const tokens = ({ requests }: FakeCachix): Set<string | undefined> =>
      new Set(
        requests
          .filter(({ operation }) => operation !== "put")
          .map(({ headers }) => headers.authorization),
      );
    assert.deepEqual(tokens(company), new Set(["Bearer token-of-the-company"]));
    assert.deepEqual(tokens(mine), new Set(["Bearer token-of-the-user"]));
  });
});

function publishedBy({ service }: FakeCachix): string[] {
  return Array.from(service.published.values(), ({ narInfo }) => String(narInfo["cStoreSuffix"]));
}

interface Event {
  readonly event: string;
  readonly cache: string;
}

/** A proxy behind which `https://cachix.org` is a fake, and the environment that leads there. */
async function startCachixBehindProxy(
  dir: string,
  fake: FakeCachix,
): Promise<AsyncDisposable & { readonly env: Readonly<Record<string, string>> }> {
  const [key, cert] = [join(dir, "tls.key"), join(dir, "tls.crt")];
  const name = ["-subj", "/CN=cachix.org", "-addext", "subjectAltName=DNS:cachix.org"];
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
  const make = ["req", "-x509", ...curve, "-nodes", "-days", "2", "-keyout", key, "-out", cert];
  execFileSync("openssl", [...make, ...name], { stdio: "ignore" });
  const context = { key: await readFile(key), cert: await readFile(cert) };
  const server: Server = createServer();
  server.on("connect", ({ url }, socket) => {
    assert.equal(url, "cachix.org:443");
    socket.write("HTTP/1.1 200 OK\r\n\r\n");
    const secure = new TLSSocket(socket, { isServer: true, ...context });
    const upstream = connect(Number(new URL(fake.url).port), "127.0.0.1");
    for (const end of [secure, upstream]) end.on("error", () => undefined);
    secure.pipe(upstream).pipe(secure);
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  const proxy = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    env: { https_proxy: proxy, NIX_SSL_CERT_FILE: cert },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
