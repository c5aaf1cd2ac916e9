import assert from "node:assert/strict";
import type { IncomingHttpHeaders, RequestListener } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { readdir, writeFile } from "node:fs/promises";
import type { Socket } from "node:net";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { assertRefused, startRaw, startWeb } from "./bad-input.ts";
import { startFakeCachix } from "./fakes/cachix.ts";
import type { FakeCachix } from "./fakes/cachix.ts";
import { TLS_CERTIFICATE, TLS_KEY } from "./fakes/tls.ts";
import { handpick, startServe } from "./handpick.ts";
import type { Result } from "./handpick.ts";
import { createTestNix } from "./nix.ts";
import type { TestNix } from "./nix.ts";

const TOKEN = "marked-token-4711-of-this-test";
const FOREIGN = "CACHE_PROTOCOL";

describe("a host that is no cache", { timeout: 120_000 }, () => {
  let nix: TestNix;
  let path: string;
  before(async () => {
    nix = await createTestNix({ root: true });
    path = await nix.add("lib", "library");
  });
  after(() => nix[Symbol.asyncDispose]());

  /** Pushes to a cache at `host`; a file for each host lets pushes run side by side. */
  async function pushTo(host: string, command = ["push", path]): Promise<Result> {
    const file = join(nix.dir, `${host.replaceAll(/\W+/g, "-")}.toml`);
    const table = `[caches.mine]\nurl = "cachix://acme"\nhost = "${host}"\ntoken-env = "T"\n`;
    await writeFile(file, table);
    return await handpick(nix, [...command, "--config", file], { env: { T: TOKEN } });
  }

  async function pushToWeb(answer: RequestListener): Promise<Result> {
    await using web = await startWeb(answer);
    return await pushTo(`http://127.0.0.1:${web.port}`);
  }

  async function pushToRaw(talk: (socket: Socket) => void, scheme = "http"): Promise<Result> {
    await using raw = await startRaw(talk);
    return await pushTo(`${scheme}://127.0.0.1:${raw.port}`);
  }

  const network = (message: RegExp): Parameters<typeof assertRefused>[1] => ({
    status: 1,
    code: "NETWORK",
    message,
  });

  it("is told from one, whatever protocol it greets with", async () => {
    const ssh = (socket: Socket): void => void socket.write("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n");
    const mail = (socket: Socket): void => void socket.write("220 mail ESMTP Postfix\r\n");
    assertRefused(await pushToRaw(ssh), network(/does not speak HTTP there$/));
    assertRefused(await pushToRaw(mail), network(/does not speak HTTP there$/));
    assertRefused(await pushToRaw(ssh, "https"), network(/does not speak TLS there$/));
  });

  it("is told to be missing where nothing listens or no such name is", async () => {
    const [closed, nameless] = await Promise.all([
      pushTo("http://127.0.0.1:1"),
      pushTo("http://no-such-host.invalid"),
    ]);
    assertRefused(closed, network(/127\.0\.0\.1:1, but the connection was refused/));
    assertRefused(
      nameless,
      network(/no-such-host\.invalid:80, but the host name does not resolve/),
    );
  });

  it("is told where TLS and plain HTTP were mixed up, or nobody vouches for it", async () => {
    const tls = createTlsServer({ key: TLS_KEY, cert: TLS_CERTIFICATE });
    await using secure = await startWeb((_, response) => void response.end("{}"), tls);
    await using plain = await startWeb((_, response) => void response.end("{}"));
    assertRefused(
      await pushTo(`https://127.0.0.1:${plain.port}`),
      network(/does not speak TLS there$/),
    );
    const asHttp = await pushTo(`http://127.0.0.1:${secure.port}`);
    assertRefused(asHttp, network(/the connection was cut$/));
    assert.match(asHttp.stderr, /with its http:\/\/ or https:\/\//);
    const untrusted = await pushTo(`https://127.0.0.1:${secure.port}`);
    assertRefused(untrusted, network(/but self-signed certificate$/));
    assert.match(untrusted.stderr, /NIX_SSL_CERT_FILE/);
  });

  it("steers no terminal and forges no line by what it says of itself", async () => {
    const evil = "\u001b[2J\u009b31m\u202e\nok forged: line";
    const info = {
      uri: `https://acme.example/${evil}`,
      isPublic: true,
      publicSigningKeys: [`acme-1:AA==${evil}`],
      permission: "Write",
    };
    await using web = await startWeb((_, response) => void response.end(JSON.stringify(info)));
    const host = `http://127.0.0.1:${web.port}`;
    for (const command of [
      ["doctor"],
      ["keygen", "a-1", "--out", join(nix.dir, "a.sec"), "--register", "mine"],
    ]) {
      const { stdout, stderr } = await pushTo(host, command);
      assert.doesNotMatch(`${stdout}${stderr}`, /(?!\n)\p{C}/u, command.join(" "));
      assert.doesNotMatch(`${stdout}${stderr}`, /^ok forged/m);
    }
  });

  it("is told from one by its answers", async () => {
    const page = "<html><title>Welcome to nginx!</title></html>";
    const refused = (message: RegExp): Parameters<typeof assertRefused>[1] => ({
      status: 1,
      code: FOREIGN,
      message,
    });
    const answers: readonly (readonly [string, RegExp])[] = [
      [page, /expected JSON, received a page of HTML$/],
      ["", /expected JSON, received nothing$/],
      ["null", /expected the answer to be a list, found null$/],
      [`{"uri":5}`, /expected the answer to be a list, found an object$/],
      ["[5]", /expected entry 0 to be a text, found 5$/],
      ["[".repeat(100_000), /expected JSON, received \[{200}…$/],
      ["\u001b[31mred\u202e", /expected JSON, received \[31mred$/],
    ];
    const pushes = answers.map(async ([body, message]) => {
      const result = await pushToWeb((_, response) => void response.end(body));
      assertRefused(result, refused(message));
    });
    await Promise.all(pushes);
    const lost = await pushToWeb((_, response) => void response.writeHead(404).end(page));
    assertRefused(lost, { status: 3, code: "CACHE_NOT_FOUND", message: /404: a page of HTML$/ });
  });

  it("is left when its head or its body does not end", async () => {
    const body = await pushToWeb((_, response) => {
      const pour = (): void => {
        while (response.write("x".repeat(65_536)));
      };
      response.on("drain", pour);
      pour();
    });
    const tooMuch = /expected at most 8388608 bytes from .*, received more$/;
    assertRefused(body, { status: 1, code: FOREIGN, message: tooMuch });
    const head = await pushToRaw((socket) => {
      socket.write("HTTP/1.1 200 OK\r\n");
      const pour = (): void => {
        while (socket.write(`x-more: ${"y".repeat(1000)}\r\n`));
      };
      socket.on("drain", pour);
      pour();
    });
    assertRefused(head, network(/its headers are too long$/));
  });

  it("gets no token by a redirect", async () => {
    const heard: IncomingHttpHeaders[] = [];
    await using thief = await startWeb(({ headers }, response) => {
      heard.push(headers);
      response.end("{}");
    });
    await using web = await startWeb(({ url = "" }, response) => {
      response.writeHead(302, { location: `http://localhost:${thief.port}${url}` }).end();
    });
    const host = `http://127.0.0.1:${web.port}`;
    assertRefused(await pushTo(host), { status: 1, code: FOREIGN, message: /received 302$/ });
    assert.equal(heard.length, 0, "what is posted is not sent on");
    await pushTo(host, ["doctor"]);
    assert.ok(heard.length > 0, "what is read is looked for where we are sent");
    assert.doesNotMatch(JSON.stringify(heard), new RegExp(`authorization|${TOKEN}`, "i"));
  });
});

describe("a cache that does not want us", { timeout: 60_000 }, () => {
  let nix: TestNix;
  let fake: FakeCachix;
  before(async () => {
    nix = await createTestNix({ root: true });
  });
  after(() => nix[Symbol.asyncDispose]());

  async function push(args: readonly string[], env: Record<string, string> = {}): Promise<Result> {
    const table = `[caches.mine]\nurl = "cachix://acme"\nhost = "${fake.url}"\ntoken-env = "T"\n`;
    await writeFile(join(nix.dir, "handpick.toml"), table);
    return await handpick(nix, args, { env: { T: "fake-token", ...env } });
  }

  it("is believed before anything is uploaded", async () => {
    fake = await startFakeCachix();
    await using _closing = fake;
    const path = await nix.add("lib", "library");
    assertRefused(await push(["push", path], { T: "expired" }), {
      status: 3,
      code: "CACHE_NOT_FOUND",
      message: /received 401/,
    });
    fake.service.permission = "Read";
    const readOnly = {
      status: 3,
      code: "CACHE_READ_ONLY",
      message: /from variable T may only read$/,
    };
    assertRefused(await push(["push", path]), readOnly);
    const diagnosis = await push(["doctor"]);
    assert.equal(diagnosis.status, 3);
    assert.match(diagnosis.stdout, /^failed +mine: cache: .* may only read$/m);
    assert.equal((await push(["plan", path])).status, 0, "who may read may plan");
    fake.service.permission = "Write";
    const made = await push(["keygen", "stranger-1", "--json", "--out", join(nix.dir, "key")]);
    assert.equal(made.status, 0, made.stderr);
    const { publicKey } = JSON.parse(made.stdout) as { publicKey: string };
    fake.service.publicSigningKeys.push(publicKey.replace(/:.{4}/, ":AAAA"));
    const config = join(nix.dir, "signing.toml");
    const signing = `signing-key-file = "key"\n`;
    await writeFile(
      config,
      `[caches.mine]\nurl = "cachix://acme"\nhost = "${fake.url}"\ntoken-env = "T"\n${signing}`,
    );
    assertRefused(await push(["push", "--config", config, path]), {
      status: 3,
      code: "KEY_MISMATCH",
      message: /do not trust our signing key\n {2}ours {3}\S+\n {2}theirs \S+$/,
    });
    assert.deepEqual([fake.of("begin"), fake.violations], [[], []]);
  });

  it("that changes its mind in the middle ends the run at once, with nothing sent twice", async () => {
    for (const operation of ["begin", "part-url", "complete", "pin"] as const) {
      fake = await startFakeCachix();
      await using _closing = fake;
      const names = ["a", "b", "c"];
      const paths = await Promise.all(names.map((name) => nix.add(name, `${operation} ${name}`)));
      const picks = paths.map((path, index) => ({ name: names[index], paths: [path], pin: "p" }));
      const file = join(nix.dir, "picks.json");
      await writeFile(file, JSON.stringify({ version: 1, name: "x", picks }));
      for (const _ of paths) fake.next(operation).reply(401, { body: "The token was revoked." });
      const { status, stdout, stderr } = await push(["push", "--json", file]);
      const events = stdout
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as Outcome);
      assert.equal(status, 3, stderr);
      const ends = events.filter(({ event }) => event === "error" || event === "failed");
      assert.deepEqual(
        ends.map(({ event, error }) => [event, error?.code]),
        [["error", "CACHE_REFUSED"]],
        operation,
      );
      assert.match(
        stderr,
        /received 401: The token was revoked\. \[CACHE_REFUSED\]\n {2}Check that/,
      );
      const failed = operation === "pin" ? 0 : paths.length;
      assert.deepEqual([events.at(-1)?.event, events.at(-1)?.failed], ["summary", failed]);
      assert.ok(fake.of("begin").length <= paths.length, "nothing is begun again");
      assert.ok(fake.of("put").length <= paths.length, "nothing is sent again");
      assert.equal(fake.service.published.size, operation === "pin" ? paths.length : 0);
      assert.equal(fake.service.openUploads, 0, "nothing is left half-done");
      assert.deepEqual(fake.violations, []);
    }
  });
});

interface Outcome {
  readonly event: string;
  readonly failed?: number;
  readonly error?: { readonly code: string };
}

describe("a cache of handpick serve", { timeout: 60_000 }, () => {
  it("keeps nothing of a push without a token, and takes a login page for no upstream", async () => {
    await using nix = await createTestNix({ root: true });
    await using serve = await startServe(nix);
    const path = await nix.add("lib", "library");
    const table = `[caches.x]\nurl = "cachix://mine"\nhost = "${serve.url}"\n`;
    await writeFile(join(nix.dir, "anonymous.toml"), table);
    assertRefused(await handpick(nix, ["push", "--config", "anonymous.toml", path]), {
      status: 3,
      code: "TOKEN_MISSING",
      message: /no token$/,
    });
    const env = { CACHIX_AUTH_TOKEN: " " };
    assertRefused(await handpick(nix, ["push", "--config", "anonymous.toml", path], { env }), {
      status: 3,
      code: "TOKEN_MISSING",
      message: /CACHIX_AUTH_TOKEN is empty/,
    });
    await using portal = await startWeb((_, response) => {
      response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end("<html>Log in");
    });
    const upstreams = `token-env = "T"\nupstreams = ["http://127.0.0.1:${portal.port}"]\n`;
    await writeFile(join(nix.dir, "portal.toml"), `${table}${upstreams}`);
    const unpushed = await handpick(nix, ["pin", "name", path]);
    assertRefused(unpushed, { status: 1, code: "UPLOAD_REJECTED", message: /received 404/ });
    assert.match(unpushed.stderr, /Push the path first/);
    for (const folder of ["nar", "parts", "tmp"]) {
      assert.deepEqual(await readdir(join(serve.dir, folder)), [], folder);
    }
    const asked = ["push", "--config", "portal.toml", path];
    const pushed = await handpick(nix, asked, { env: { T: serve.token } });
    assert.equal(pushed.status, 0, pushed.stderr);
    assert.match(pushed.stdout, /^1 pushed/);
    assert.match(pushed.stderr, /warning: .* found something else, which does not count/);
  });
});
