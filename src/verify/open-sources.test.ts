import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, it } from "node:test";

import { NO_CREDENTIALS } from "../../test/no-credentials.ts";
import { toyPath } from "../../test/toy-paths.ts";
import type { CacheInfo } from "../cache/contract.ts";
import { openCache } from "../cache/open-cache.ts";
import { parseConfig } from "../config/config.ts";
import type { Credentials } from "../config/credentials.ts";
import { generateSecretKey, printPublicKey, publicKeyOf } from "../nix/key.ts";
import type { OpenedCache } from "../run/open-caches.ts";
import { Secret } from "../secret.ts";
import { openSources, type Sources } from "./open-sources.ts";

const { signal } = new AbortController();
const KEY = generateSecretKey("ours-1");
const OURS = printPublicKey(publicKeyOf(KEY));

/** A server that has nothing, and remembers the credentials that come. */
async function recorder(): Promise<AsyncDisposable & { url: string; seen: unknown[] }> {
  const seen: unknown[] = [];
  const server = createServer((request, response) => {
    seen.push(request.headers.authorization);
    response.writeHead(404).end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

interface Asked {
  readonly url: string;
  readonly readUrl: string;
  readonly settings?: string;
  readonly credentials?: Partial<Credentials>;
  readonly info?: Partial<CacheInfo>;
  readonly publicKeys?: readonly string[];
}

async function withSources<T>(asked: Asked, use: (sources: Sources) => T): Promise<Awaited<T>> {
  const { url, readUrl, settings = "", credentials, publicKeys = [] } = asked;
  const text = `[caches.mine]\nurl = "${url}"\n${settings}\n`;
  const [config] = parseConfig(text, "/h.toml", {}).caches;
  assert.ok(config !== undefined);
  await using cache = await openCache({ name: "mine", url, env: {} });
  const given = { ...NO_CREDENTIALS, token: new Secret("t0ken-of-ours"), ...credentials };
  const info: CacheInfo = {
    readUrl,
    storeDir: "/nix/store",
    publicKeys: undefined,
    isPublic: false,
    writable: undefined,
    preferredCompression: undefined,
    ...asked.info,
  };
  const opened: OpenedCache = { config, cache, credentials: given };
  await using sources = openSources(opened, info, { env: {}, publicKeys });
  return await use(sources);
}

const look = ({ own }: Sources): Promise<unknown> => own.reader.narInfo(toyPath("lib"), signal);

describe("openSources()", () => {
  it("sends credentials to the server of pushes, for a private cache", async () => {
    await using server = await recorder();
    const asked = { url: server.url, readUrl: server.url };
    await withSources(asked, look);
    await withSources({ ...asked, info: { isPublic: true } }, look);
    await withSources({ ...asked, info: { isPublic: undefined } }, look);
    assert.deepEqual(server.seen, ["Bearer t0ken-of-ours", undefined, undefined]);
  });

  it("sends none elsewhere, wherever the cache or its table leads", async () => {
    await using server = await recorder();
    for (const url of ["https://push.example/nix", "attic://push.example/mine"]) {
      const netrc = await withSources({ url, readUrl: server.url }, async (sources) => {
        await look(sources);
        return sources.netrc;
      });
      assert.equal(netrc, undefined);
    }
    assert.deepEqual(server.seen, [undefined, undefined]);
  });

  it("gives the token of another server with Cachix's protocol to none of Cachix", async () => {
    const asked = { url: "cachix://mine", readUrl: "https://mine.cachix.org" };
    const netrcOf = ({ netrc }: Sources): string | undefined => netrc;
    const line = "machine mine.cachix.org login token password t0ken-of-ours\n";
    assert.equal(await withSources(asked, netrcOf), line);
    const host = "https://cache.company.example";
    assert.equal(await withSources({ ...asked, credentials: { host } }, netrcOf), undefined);
    const plain = { ...asked, readUrl: "http://mine.cachix.org" };
    assert.equal(await withSources(plain, netrcOf), undefined);
  });

  it("gives Nix a line for a private cache alone", async () => {
    const url = "https://cache.example/nix";
    const netrcOf = ({ netrc }: Sources): string | undefined => netrc;
    const line = "machine cache.example login token password t0ken-of-ours\n";
    assert.equal(await withSources({ url, readUrl: url }, netrcOf), line);
    for (const [user, password, words] of [
      ["me", "pw", "login me password pw"],
      ["", "pw", "password pw"],
      ["a b", 'p "w', 'login "a b" password "p \\"w"'],
    ] as const) {
      const login = { user, password: new Secret(password) };
      const own = { url, readUrl: url, credentials: { token: undefined, login } };
      assert.equal(await withSources(own, netrcOf), `machine cache.example ${words}\n`);
    }
    const open = { url, readUrl: url, info: { isPublic: true } };
    assert.equal(await withSources(open, netrcOf), undefined);
  });

  it("trusts the keys that the cache, its table or the user tells, and that of cache.nixos.org", async () => {
    const url = "https://cache.example/nix";
    const keysOf = ({ own, upstreams, publicKeys }: Sources) => ({
      own: own.keys?.map(({ name }) => name),
      upstreams: upstreams.map(({ reader, keys }) => [reader.url, keys?.map(({ name }) => name)]),
      count: publicKeys.length,
    });
    const all = ["ours-1", "cache.nixos.org-1"];
    const ofNixos = (keys: readonly string[]) => [["https://cache.nixos.org", keys]];
    const base = { url, readUrl: url };
    assert.deepEqual(await withSources(base, keysOf), {
      own: undefined,
      upstreams: ofNixos(["cache.nixos.org-1"]),
      count: 1,
    });
    for (const more of [
      { credentials: { signingKeys: [KEY] } },
      { info: { publicKeys: [OURS] } },
      { publicKeys: [OURS] },
    ]) {
      const found = await withSources({ ...base, ...more }, keysOf);
      assert.deepEqual(found, { own: all, upstreams: ofNixos(all), count: 2 });
    }
    const none = await withSources({ ...base, info: { publicKeys: [] } }, keysOf);
    assert.deepEqual(none.own, ["cache.nixos.org-1"]);
  });

  it("asks the upstreams of the table, whose keys nobody tells", async () => {
    const url = "cachix://mine";
    const asked = { url, readUrl: "https://mine.cachix.org" };
    const urlsOf = ({ upstreams }: Sources) =>
      upstreams.map(({ reader, keys }) => [reader.url, keys]);
    const [[first] = []] = await withSources(asked, urlsOf);
    assert.equal(first, "https://cache.nixos.org");
    const settings = 'upstreams = ["https://other.example"]';
    assert.deepEqual(await withSources({ ...asked, settings }, urlsOf), [
      ["https://other.example", undefined],
    ]);
  });
});
