import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, request } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, it } from "node:test";

import { handpick, isServed, type ServeRig, startServe } from "../handpick.ts";
import { SyncRig } from "./sync-rig.ts";

type Meddle = (incoming: IncomingMessage, outgoing: ServerResponse) => void;

/** Stands before a cache, and answers in its place where a test says how. */
class TurningCache implements AsyncDisposable {
  onUpload: Meddle | undefined;
  onPin: Meddle | undefined;
  readonly #server = createServer((incoming, outgoing) => {
    const { url = "", method } = incoming;
    const isPin = method === "POST" && /\/pin\??$/.test(url);
    const meddle = url.includes("/multipart-nar") ? this.onUpload : isPin ? this.onPin : undefined;
    if (meddle === undefined) this.#pass(incoming, outgoing);
    else incoming.resume().on("end", () => meddle(incoming, outgoing));
  });
  /** The bodies of questions which paths it lacks. */
  readonly questions: string[] = [];
  readonly #target: string;

  private constructor(target: string) {
    this.#target = target;
  }

  static async start(target: string): Promise<TurningCache> {
    const cache = new TurningCache(target);
    cache.#server.listen(0, "127.0.0.1");
    await once(cache.#server, "listening");
    return cache;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  #pass(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const { url = "", method, headers } = incoming;
    const passed = request(`${this.#target}${url}`, { method, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(outgoing);
    });
    passed.on("error", () => outgoing.destroy());
    if (/\/narinfo\??$/.test(url)) incoming.on("data", (part) => this.questions.push(`${part}`));
    incoming.pipe(passed);
  }
}

const answering =
  (status: number): Meddle =>
  (_incoming, outgoing) =>
    void outgoing.writeHead(status).end("no");

/** No answer of HTTP is a failure of the network, and none that is worth another try. */
const babbling: Meddle = ({ socket }) => void socket.end("SSH-2.0-none\r\n");

describe("a cache that turns away after it was asked", { timeout: 60_000 }, () => {
  let rig: SyncRig;
  let serve: ServeRig;
  let cache: TurningCache;
  beforeEach(async () => {
    rig = await SyncRig.create();
    serve = await startServe(rig.nix);
    cache = await TurningCache.start(serve.url);
    await rig.configure({ mine: cache.url }, serve.token);
  });
  afterEach(async () => {
    await cache[Symbol.asyncDispose]();
    await serve[Symbol.asyncDispose]();
    await rig[Symbol.asyncDispose]();
  });

  /** The state of each path, and why. */
  const states = async (): Promise<(string | undefined)[][]> =>
    (await rig.status()).paths.map(({ state, trouble }) => [state, trouble?.code]);

  it("is the one that fails in a sync, not its paths, which wait for it", async () => {
    cache.onUpload = babbling;
    const { data } = await rig.declare("home", [{ packages: ["data"] }]);
    assert.equal((await rig.sync()).status, 0);
    const [mine] = (await rig.status()).caches;
    assert.equal(mine?.trouble?.code, "NETWORK");
    assert.ok((mine?.failingSince ?? 0) > 0);
    assert.deepEqual(await states(), [["waiting", undefined]]);
    cache.onUpload = undefined;
    await rig.synced("--recheck");
    assert.equal((await rig.status()).caches[0]?.trouble, undefined);
    assert.ok(await isServed(serve, data));
  });

  it("leaves a path failing whose pin it does not take, until it does", async () => {
    cache.onPin = answering(400);
    await rig.declare("home", [{ packages: ["data"], pin: "data" }]);
    for (const args of [[], ["--recheck"], ["--recheck"]]) {
      await rig.sync(...args);
      assert.deepEqual(await states(), [["failing", "UPLOAD_REJECTED"]]);
    }
    cache.onPin = undefined;
    await rig.synced("--recheck");
    assert.deepEqual(await states(), [["pushed", undefined]]);
  });

  it("is not asked to pin what it did not take", async () => {
    const { manifest } = await rig.select("me", [{ packages: ["data"], pin: "data" }]);
    cache.onUpload = answering(400);
    let pins = 0;
    cache.onPin = (...exchange) => {
      pins += 1;
      answering(400)(...exchange);
    };
    const { status, stdout } = await handpick(rig.nix, ["push", "--json", manifest]);
    assert.equal(status, 1);
    assert.match(stdout, /"event":"failed".*"UPLOAD_REJECTED"/);
    assert.doesNotMatch(stdout, /"event":"pin/);
    assert.equal(pins, 0);
  });

  it("ends a push with its refusal of a pin", async () => {
    const { data, manifest } = await rig.select("me", [{ packages: ["data"], pin: "data" }]);
    cache.onPin = answering(403);
    const { status, stderr } = await handpick(rig.nix, ["push", manifest]);
    assert.equal(status, 3);
    assert.match(stderr, /Cannot pin "data" in cache "mine": .* received 403.*\[CACHE_REFUSED\]/);
    assert.ok(await isServed(serve, data));
  });
});

describe("a cache beside another one", { timeout: 60_000 }, () => {
  it("hears only of what may go there", async () => {
    await using rig = await SyncRig.create();
    await using serve = await startServe(rig.nix);
    await using mine = await TurningCache.start(serve.url);
    await using other = await TurningCache.start(serve.url);
    await rig.configure({ mine: mine.url, other: other.url }, serve.token);
    const { data, app, manifest } = await rig.select("me", [
      { packages: ["app"], caches: ["mine"] },
      { packages: ["data"], caches: ["other"] },
    ]);
    await handpick(rig.nix, ["plan", manifest]);
    const hash = (path: string): string => path.slice("/nix/store/".length).slice(0, 32);
    const heard = ({ questions }: TurningCache): boolean[] =>
      [app, data].map((path) => questions.join("").includes(hash(path)));
    assert.deepEqual(
      [heard(mine), heard(other)],
      [
        [true, false],
        [false, true],
      ],
    );
  });
});
