import assert from "node:assert/strict";
import { once } from "node:events";
import { afterEach, beforeEach, describe, it } from "node:test";

import { handpick, isServed, type ServeRig, startServe } from "../handpick.ts";
import { recordSignature } from "../signed.ts";
import { SyncRig } from "./sync-rig.ts";

describe("handpick sync with an upstream that does not answer", { timeout: 120_000 }, () => {
  let rig: SyncRig;
  let serve: ServeRig;
  let upstream: ServeRig;
  beforeEach(async () => {
    rig = await SyncRig.create();
    serve = await startServe(rig.nix);
    upstream = await startServe(rig.nix, { name: "up" });
  });
  afterEach(async () => {
    await upstream[Symbol.asyncDispose]();
    await serve[Symbol.asyncDispose]();
    await rig[Symbol.asyncDispose]();
  });

  const states = async (): Promise<Record<string, string>> => {
    const { paths } = await rig.status();
    return Object.fromEntries(
      paths.map(({ path, state, trouble }) => [
        path,
        [state, trouble?.code ?? ""].join(" ").trim(),
      ]),
    );
  };

  /** Makes both caches those of the configuration, the second an upstream of the first. */
  async function configure(): Promise<void> {
    await rig.configure({ mine: serve.url }, serve.token, "");
    const more = `upstreams = ["${upstream.url}"]\n`;
    await rig.configure({ mine: serve.url }, serve.token, more);
  }

  it("goes by what it had when it answered, and holds the rest until it answers again", async () => {
    const { lib, app, data } = await rig.select("home", [{ packages: ["app", "data"] }]);
    const first = await handpick(rig.nix, ["push", "--to", "up", lib]);
    assert.equal(first.status, 0, first.stderr);
    await configure();
    const { manifest } = await rig.select("home", [{ packages: ["app"] }]);
    await rig.want("home", manifest);
    await rig.synced();
    assert.deepEqual(await states(), { [lib]: "upstream in-upstream", [app]: "pushed" });

    upstream.process.kill("SIGKILL");
    await once(upstream.process, "exit");
    recordSignature(rig.nix, data);
    await rig.want("more", (await rig.select("more", [{ packages: ["data"] }])).manifest);
    const down = await rig.sync();
    assert.equal(down.stderr.match(/\[NETWORK\]/g)?.length, 1, down.stderr);
    assert.deepEqual(await states(), {
      [lib]: "upstream in-upstream",
      [app]: "pushed",
      [data]: "failing upstream-unreachable",
    });
    assert.ok(!(await isServed(serve, data)));
    const [entry] = (await rig.status()).paths.filter(({ path }) => path === data);
    assert.ok((entry?.nextTry ?? 0) > Date.now());

    // It is gone for good: without it, nothing has to be asked any more.
    await rig.configure({ mine: serve.url }, serve.token);
    rig.ledger("UPDATE entries SET next_try = 0");
    await rig.synced();
    assert.equal((await states())[data], "pushed");
  });
});
