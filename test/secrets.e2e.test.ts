import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { generateSecretKey, printPublicKey, printSecretKey, publicKeyOf } from "../src/nix/key.ts";
import { startFakeCachix } from "./fakes/cachix.ts";
import type { FakeCachix } from "./fakes/cachix.ts";
import type { RecordedRequest } from "./fakes/cachix-service.ts";
import { handpick, startHandpick, startServe } from "./handpick.ts";
import type { Result, StartOptions } from "./handpick.ts";
import { filesBelow, findMarks } from "./marks.ts";
import type { Mark, Place } from "./marks.ts";
import { createTestNix } from "./nix.ts";
import type { TestNix } from "./nix.ts";

const random = (): string => randomBytes(24).toString("hex");
/** Characters that JSON, URLs and XML write in other ways, as far as a token may have them. */
const TOKEN = `token-${random()}"\\/+=&<>%`;
const PASSWORD = `password-${random()}`;
const SIGNATURE = `signature-${random()}`;
const SECRET_KEY = generateSecretKey("acme.cachix.org-1");
const MARKS: readonly Mark[] = [
  { name: "token", text: TOKEN },
  { name: "token's random part", text: TOKEN.slice(6, 54) },
  { name: "password", text: PASSWORD },
  { name: "storage signature", text: SIGNATURE },
  { name: "key", text: printSecretKey(SECRET_KEY, "cachix").slice(0, 40) },
];

/** A server that nobody has a secret for. Redirects lead here, and it is an upstream. */
interface Stranger extends AsyncDisposable {
  readonly url: string;
  readonly seen: readonly Place[];
}

async function startStranger(): Promise<Stranger> {
  const seen: Place[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const head = [request.method, request.url, ...request.rawHeaders].join("\n");
      const content = `${head}\n${Buffer.concat(chunks).toString("latin1")}`;
      seen.push({ where: "a request to a stranger", content });
      response.writeHead(404).end("Nothing here.");
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

const placesOf = ({ stdout, stderr }: Result): Place[] => [
  { where: "stdout", content: stdout },
  { where: "stderr", content: stderr },
];

describe("handpick and what is secret", { timeout: 180_000 }, () => {
  let nix: TestNix;
  let fake: FakeCachix;
  let stranger: Stranger;
  /** Where the programs that handpick starts leave their arguments and environment. */
  let children: string;
  let env: Record<string, string>;
  const mask = process.umask(0);
  /** Files that hold secrets because a test put them there. */
  const planted = new Set<string>();
  let paths = 0;

  before(async () => {
    nix = await createTestNix({ root: true });
    fake = await startFakeCachix();
    stranger = await startStranger();
    fake.service.token = TOKEN;
    const publicKey = printPublicKey(publicKeyOf(SECRET_KEY));
    fake.service.publicSigningKeys.push(publicKey);
    fake.service.registeredKeys.push(publicKey.slice(publicKey.indexOf(":") + 1));
    children = join(nix.dir, "children");
    await mkdir(children);
    await wrap("xz", 'exec "$real" "$@"');
    await wrap("nix", `echo '["${await add()}"]'`);
    await configure("handpick.toml", ['compression = "xz"']);
    await secretFile("home/.netrc", `machine 127.0.0.1 password ${PASSWORD}\n`);
    env = {
      PATH: `${join(nix.dir, "bin")}:${nix.env["PATH"] ?? ""}`,
      CACHIX_AUTH_TOKEN: TOKEN,
      CACHIX_SIGNING_KEY: printSecretKey(SECRET_KEY, "cachix"),
      HANDPICK_DEBUG: "1",
    };
  });
  after(async () => {
    await stranger[Symbol.asyncDispose]();
    await fake.close();
    await nix[Symbol.asyncDispose]();
    process.umask(mask);
  });

  /** Puts a program before the real one that writes down how it was started. */
  async function wrap(name: string, rest: string): Promise<void> {
    const script = `#!/bin/sh
real=$(PATH=\${PATH#*:} command -v ${name})
{ printf '%s\\n' "$0" "$@"; cat /proc/$$/environ; } > ${children}/${name}.$$
${rest}
`;
    const bin = join(nix.dir, "bin");
    await mkdir(bin, { recursive: true });
    await writeFile(join(bin, name), script, { mode: 0o755 });
  }

  async function configure(name: string, lines: readonly string[]): Promise<string> {
    const file = join(nix.dir, name);
    const table = ["[caches.mine]", `url = "cachix://${fake.cacheName}"`, `host = "${fake.url}"`];
    await writeFile(file, [...table, ...lines, ""].join("\n"));
    return file;
  }

  async function secretFile(name: string, text: string): Promise<string> {
    const file = join(nix.dir, name);
    await writeFile(file, text, { mode: 0o600 });
    planted.add(file);
    return file;
  }

  /** A store path of its own, for each push something to do. */
  async function add(): Promise<string> {
    const text = `contents ${++paths}`;
    const expression = `builtins.toFile "path-${paths}" "${text}"`;
    const words = ["--eval", "--read-write-mode", "-E", expression];
    return JSON.parse((await nix.run("nix-instantiate", words)).stdout) as string;
  }

  /** Nothing that came out of a run holds a secret, and no file but those named. */
  async function assertNothingLeaked(result: Result): Promise<void> {
    const files = await filesBelow(nix.dir);
    const others = files.filter(({ where }) => !planted.has(where));
    const storage: Place[] = fake.of("put").map(({ headers, body }) => ({
      where: "a request to the storage",
      content: Buffer.concat([Buffer.from(JSON.stringify(headers)), body]),
    }));
    const api: Place[] = fake.requests
      .filter(({ operation }) => operation !== "put")
      .map(toApiPlace);
    const places = [...placesOf(result), ...others, ...storage, ...stranger.seen, ...api];
    assert.deepEqual(findMarks(MARKS, places), []);
  }

  /** Whatever goes to the API, but for the one header that is for the token. */
  function toApiPlace({ operation, target, headers, body }: RecordedRequest): Place {
    const { authorization: _token, ...rest } = headers;
    const head = `${target}\n${JSON.stringify(rest)}`;
    return { where: `the request ${operation}`, content: `${head}\n${body.toString()}` };
  }

  const run = (args: readonly string[], options: StartOptions = {}): Promise<Result> =>
    handpick(nix, args, { ...options, env: { ...env, ...options.env } });

  function signStorageUrls(count: number): void {
    for (let left = count; left > 0; left--) {
      fake.next("part-url").handle((_request, serve) => {
        const reply = serve();
        const { uploadUrl } = reply.body as { readonly uploadUrl: string };
        return { ...reply, body: { uploadUrl: `${uploadUrl}&X-Amz-Credential=${SIGNATURE}` } };
      });
    }
  }

  it("finds the marks where they have to be", async () => {
    signStorageUrls(1);
    const result = await run(["push", await add()]);
    assert.equal(result.status, 0, result.stderr);
    const sent = fake.requests.map(({ headers, target }) => ({
      where: "HTTP",
      content: JSON.stringify({ headers, target }),
    }));
    const found = new Set(findMarks(MARKS, sent));
    assert.ok(
      found.has("token in HTTP") && found.has("storage signature in HTTP"),
      [...found].join(),
    );
    assert.equal(fake.of("complete").at(-1)?.headers.authorization, `Bearer ${TOKEN}`);
    const key = [{ where: "x", content: `a ${printSecretKey(SECRET_KEY, "nix")}` }];
    assert.deepEqual(findMarks(MARKS, key), ["key in x"]);
    for (const spelled of [
      JSON.stringify(TOKEN),
      encodeURIComponent(TOKEN),
      Buffer.from(`user:${TOKEN}`).toString("base64"),
      Buffer.from(TOKEN).toString("hex").toUpperCase(),
    ]) {
      assert.notDeepEqual(findMarks(MARKS, [{ where: "x", content: spelled }]), [], spelled);
    }
    await assertNothingLeaked(result);
  });

  it("starts xz and nix without them", async () => {
    const result = await run(["push", "--json", "fake:installable"]);
    assert.equal(result.status, 0, result.stderr);
    const started = await readdir(children);
    const names = started.map((name) => name.split(".")[0]);
    assert.deepEqual(new Set(names), new Set(["nix", "xz"]));
    for (const name of started) assert.match(await readFile(join(children, name), "utf8"), /PATH=/);
    await assertNothingLeaked(result);
  });

  it("asks nix for its settings without them before a command runs", async () => {
    const before = new Set(await readdir(children));
    const result = await run(["exec", "-i", "x", "--via", "hook", "--", "true"]);
    assert.equal(result.status, 0, result.stderr);
    const started = (await readdir(children)).filter((name) => !before.has(name));
    assert.deepEqual(new Set(started.map((name) => name.split(".")[0])), new Set(["nix"]));
    await assertNothingLeaked(result);
  });

  it("starts nix without the variable that token-env names", async () => {
    await configure("env.toml", ['token-env = "MY_OWN_TOKEN"']);
    const { CACHIX_AUTH_TOKEN: _token, ...rest } = env;
    const result = await handpick(nix, ["push", "-c", "env.toml", "fake:installable"], {
      env: { ...rest, MY_OWN_TOKEN: TOKEN },
    });
    assert.equal(result.status, 0, result.stderr);
    await assertNothingLeaked(result);
  });

  it("keeps them from upstreams, and the files that hold them to itself", async () => {
    const token = await secretFile("token", TOKEN);
    const key = await secretFile("key", printSecretKey(SECRET_KEY, "nix"));
    await configure("files.toml", [
      `token-file = "${token}"`,
      `signing-key-file = "${key}"`,
      `upstreams = ["${stranger.url}"]`,
    ]);
    const before = stranger.seen.length;
    for (const words of [
      ["doctor"],
      ["plan", await add()],
      ["push", await add()],
      ["push", "--json", await add()],
    ]) {
      const result = await handpick(nix, [...words, "-c", "files.toml"], {
        env: { HANDPICK_DEBUG: "1" },
      });
      assert.equal(result.status, 0, result.stderr);
      await assertNothingLeaked(result);
    }
    assert.ok(stranger.seen.length > before);
  });

  it("keeps those of a cachix.dhall, and pins", async () => {
    await mkdir(join(nix.dir, "home/.config/cachix"), { recursive: true });
    const text = `{ authToken = ${JSON.stringify(TOKEN)}, hostname = "${fake.url}" }`;
    const dhall = await secretFile("home/.config/cachix/cachix.dhall", text);
    const path = await add();
    const inDhall = { env: { HANDPICK_DEBUG: "1" } };
    const pushed = await handpick(nix, ["push", path], inDhall);
    assert.equal(pushed.status, 0, pushed.stderr);
    const pinned = await handpick(nix, ["pin", "keep", path], inDhall);
    assert.equal(pinned.status, 0, pinned.stderr);
    await assertNothingLeaked(pushed);
    await assertNothingLeaked(pinned);
    await writeFile(dhall, `{ authToken = ${JSON.stringify(TOKEN)} ${JSON.stringify(TOKEN)} }`);
    const broken = await handpick(nix, ["push", path], inDhall);
    assert.equal(broken.status, 2);
    await assertNothingLeaked(broken);
    await writeFile(dhall, "{=}");
  });

  it("keeps them from messages about refusals that repeat what was sent", async () => {
    const path = await add();
    const body = [TOKEN, JSON.stringify({ token: TOKEN }), encodeURIComponent(TOKEN)].join(" and ");
    for (const [operation, status] of [
      ["info", 401],
      ["missing", 403],
      ["begin", 400],
      ["part-url", 404],
      ["complete", 418],
    ] as const) {
      fake.next(operation).reply(status, { body });
      const result = await run(["push", path]);
      assert.notEqual(result.status, 0);
      assert.match(result.stdout + result.stderr, new RegExp(`received ${status}: …`));
      await assertNothingLeaked(result);
    }
    // An answer that is tried again is told of too.
    fake.next("info").reply(500, { body: `Failed: ${TOKEN}` });
    const retried = await run(["push", path]);
    assert.equal(retried.status, 0, retried.stderr);
    assert.match(retried.stderr, /status 500/);
    await assertNothingLeaked(retried);
  });

  it("keeps the signatures of storage URLs from messages and from other hosts", async () => {
    const path = await add();
    const xml = `<Error><Code>AccessDenied</Code><Query>X-Amz-Credential=${SIGNATURE}</Query></Error>`;
    signStorageUrls(2);
    for (let left = 2; left > 0; left--) fake.next("put").reply(403, { body: xml });
    const refused = await run(["push", path]);
    assert.equal(refused.status, 1);
    assert.match(refused.stdout + refused.stderr, /AccessDenied/);
    await assertNothingLeaked(refused);
    signStorageUrls(2);
    for (let left = 2; left > 0; left--) {
      fake.next("put").reply(307, { headers: { location: `${stranger.url}/?a=b` } });
    }
    await assertNothingLeaked(await run(["push", path]));
    fake.next("part-url").reply(200, {
      body: { uploadUrl: `http://user:${PASSWORD}@127.0.0.1:1/?X-Amz-Credential=${SIGNATURE}` },
    });
    const credentials = await run(["push", path]);
    assert.equal(credentials.status, 1);
    await assertNothingLeaked(credentials);
    fake.next("part-url").reply(200, {
      body: { uploadUrl: `${stranger.url}/?a=b` },
    });
    await assertNothingLeaked(await run(["push", path]));
  });

  it("does not follow redirects to elsewhere with the token", async () => {
    const path = await add();
    const before = stranger.seen.length;
    for (const operation of ["info", "missing", "begin"] as const) {
      for (const location of [
        `${stranger.url}/elsewhere`,
        stranger.url.replace("//", `//user:${PASSWORD}@`),
      ]) {
        fake.next(operation).reply(307, { headers: { location } });
        const result = await run(["push", path]);
        assert.notEqual(result.status, 0);
        await assertNothingLeaked(result);
      }
    }
    assert.ok(stranger.seen.length > before);
  });

  it("quotes nothing secret of a configuration, an argument or a variable that is wrong", async () => {
    const broken: readonly (readonly string[])[] = [
      [`token = ${JSON.stringify(TOKEN)}`],
      [`token = "${PASSWORD}`],
      [`token-env = "${PASSWORD}"`],
      [`host = "http://user:${PASSWORD}@127.0.0.1"`],
      [`upstreams = ["http:///user:${PASSWORD}@127.0.0.1"]`],
      [`compression-level = ${PASSWORD}`],
    ];
    for (const [index, lines] of broken.entries()) {
      const file = await secretFile(`broken-${index}.toml`, "");
      await writeFile(file, `[caches.mine]\nurl = "cachix://acme"\n${lines.join("\n")}\n`);
      const result = await run(["push", "-c", file, await add()]);
      assert.equal(result.status, 2, lines.join());
      await assertNothingLeaked(result);
      await writeFile(file, "");
    }
    const path = await add();
    const url = `http://user:${PASSWORD}@127.0.0.1:1`;
    for (const [words, variables] of [
      [["push", "--to", `${url}/x`, path], {}],
      [["push", "--to", `http:///user:${PASSWORD}@127.0.0.1:1/x`, path], {}],
      [["push", "--store", `ssh://user:a/${PASSWORD}@host`, path], {}],
      [["push", path], { NIX_REMOTE: `https://host/?secret-key=${PASSWORD}` }],
      [["push", path], { CACHIX_AUTH_TOKEN: `two ${PASSWORD}` }],
      [["push", path], { CACHIX_SIGNING_KEY: `name:${PASSWORD}` }],
    ] as const) {
      const result = await run(words, { env: variables });
      assert.ok([2, 3].includes(result.status), `${words.join(" ")}: ${result.stderr}`);
      await assertNothingLeaked(result);
    }
  });

  it("keeps the password of a proxy to the proxy", async () => {
    await using proxy = await startStranger();
    const url = proxy.url.replace("//", `//user:${PASSWORD}@`);
    const file = join(nix.dir, "far.toml");
    await writeFile(file, '[caches.far]\nurl = "cachix://far"\nhost = "http://cache.invalid"\n');
    const doctor = (http_proxy: string): Promise<Result> =>
      run(["doctor", "-c", file, "far"], { env: { http_proxy } });
    const result = await doctor(url);
    assert.notEqual(result.status, 0);
    assert.ok(findMarks(MARKS, proxy.seen).includes("password in a request to a stranger"));
    assert.deepEqual(findMarks(MARKS, placesOf(result)), []);
    for (const unusable of [`http://user:${PASSWORD}@[`, `socks5://user:${PASSWORD}@127.0.0.1`]) {
      const broken = await doctor(unusable);
      assert.equal(broken.status, 2);
      assert.match(broken.stdout, /http_proxy/);
      assert.deepEqual(findMarks(MARKS, placesOf(broken)), []);
    }
  });

  it("makes keys that only their owner may read, and shows the public half", async () => {
    const out = join(nix.dir, "made.sec");
    const made = await run(["keygen", "--json", "--out", out, "mine-1"]);
    assert.equal(made.status, 0, made.stderr);
    const secret = (await readFile(out, "utf8")).trim();
    const marks = [{ name: "made key", text: secret.slice(secret.indexOf(":") + 1).slice(0, 40) }];
    const files = await filesBelow(nix.dir);
    assert.deepEqual(findMarks(marks, files), [`made key in ${out}`]);
    assert.equal(files.find(({ where }) => where === out)?.mode, 0o600);
    assert.deepEqual(findMarks(marks, placesOf(made)), []);
    const registered = await run(["keygen", "--register", "mine", "--out", out, "mine-1"]);
    assert.equal(registered.status, 0, registered.stderr);
    const sent = fake.of("key").map(toApiPlace);
    assert.deepEqual(findMarks(marks, [...placesOf(registered), ...sent]), []);
    await assertNothingLeaked(registered);
  });

  it("keeps them out of diagnostic reports and whatever a crash leaves", async () => {
    const reports = join(nix.dir, "reports");
    await mkdir(reports);
    const options = ["--report-on-signal", "--report-uncaught-exception", "--report-on-fatalerror"];
    for (const signal of ["SIGUSR2", "SIGABRT"] as const) {
      const script = fake.next("begin");
      const release = script.hold();
      const child = startHandpick(nix, ["push", await add()], {
        env: { ...env, NODE_OPTIONS: [...options, `--report-directory=${reports}`].join(" ") },
      });
      const lines: Place[] = [];
      child.stdout.on("data", (content: Buffer) => lines.push({ where: "stdout", content }));
      child.stderr.on("data", (content: Buffer) => {
        lines.push({ where: "stderr", content });
        if (content.includes("report completed")) child.kill("SIGKILL");
      });
      await script.arrived;
      child.kill(signal);
      await once(child, "close");
      release();
      assert.deepEqual(findMarks(MARKS, lines), []);
      await assertNothingLeaked({ status: 0, stdout: "", stderr: "" });
    }
    assert.equal((await readdir(reports)).length, 1);
  });

  it("serves without showing its token or its key", async () => {
    await using serve = await startServe(nix, { name: "served" });
    const files = await filesBelow(serve.dir);
    const secret = files.filter(({ where }) => /token|key|secret/.test(where));
    assert.ok(secret.length > 0);
    for (const { where, mode } of secret) assert.equal(mode, 0o600, where);
    const marks = [{ name: "token", text: serve.token }];
    const places = files.filter(({ where }) => !where.endsWith("token"));
    const lines: Place[] = [];
    serve.process.stdout.on("data", (content: Buffer) => lines.push({ where: "stdout", content }));
    const result = await handpick(nix, ["push", "--to", "served", await add()], {});
    assert.equal(result.status, 0, result.stderr);
    await fetch(`${serve.url}/nix-cache-info?token=${serve.token}`);
    assert.deepEqual(findMarks(marks, [...places, ...placesOf(result), ...lines]), []);
    assert.notDeepEqual(findMarks(marks, files), []);
  });
});
