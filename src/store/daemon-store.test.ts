import assert from "node:assert/strict";
import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { FakeDaemon, greeting, type Script } from "../../test/fakes/daemon.ts";
import { tempDir } from "../../test/temp.ts";
import { parseStorePath } from "../nix/store-path.ts";
import { DaemonStore } from "./daemon-store.ts";
import { WireWriter } from "./wire.ts";

const LAST = 0x616c7473;
const ERROR = 0x63787470;
const BASE_NAME = "21zyvmxbw7yb4z640idpxbbccvqb9kpm-hello-1.2.drv";
const DERIVATION = parseStorePath(`/nix/store/${BASE_NAME}`);

/** A script that takes `sizeBytes` of requests and then sends these answers. */
function says(minor: number, sizeBytes: number, answers: WireWriter): Script {
  return greeting(minor, async (peer) => {
    await peer.take(sizeBytes);
    peer.send(answers.toBytes());
    await peer.hangUp();
  });
}

async function storeAt(daemon: FakeDaemon, realStoreDir = "/nonexistent"): Promise<DaemonStore> {
  const layout = {
    storeDir: "/nix/store",
    realStoreDir,
    stateDir: "/nonexistent",
    logDir: "/nonexistent",
  };
  const { signal } = new AbortController();
  const options = { layout, socketPath: daemon.socketPath, signal };
  return DaemonStore.open(options, () => Promise.resolve(undefined));
}

const QUERY_VALID = new WireWriter().int(31).strings([DERIVATION]).toBytes().length;

describe("DaemonStore", () => {
  it("describes a daemon that does not tell its version", async () => {
    await using daemon = await FakeDaemon.start(greeting(32));
    await using store = await storeAt(daemon);
    assert.equal(store.description, "daemon, protocol 1.32");
  });

  it("reads outputs from the file where the daemon is too old to be asked", async () => {
    await using temp = await tempDir();
    const vector = new URL(`../../test/vectors/drv/${BASE_NAME}`, import.meta.url);
    await copyFile(vector, join(temp.dir, BASE_NAME));
    const isValid = new WireWriter().int(LAST).strings([DERIVATION]);
    await using daemon = await FakeDaemon.start(says(21, QUERY_VALID, isValid));
    await using store = await storeAt(daemon, temp.dir);
    assert.deepEqual([...(await store.derivationOutputs(DERIVATION)).keys()], ["dev", "out"]);
  });

  it("knows outputs without a path", async () => {
    const script = greeting(34, async (peer) => {
      await peer.take(QUERY_VALID + 8);
      peer.send(new WireWriter().int(LAST).strings([DERIVATION]).toBytes());
      await peer.take(new WireWriter().int(41).string(DERIVATION).toBytes().length);
      peer.send(new WireWriter().int(LAST).int(1).string("out").string("").toBytes());
    });
    await using daemon = await FakeDaemon.start(script);
    await using store = await storeAt(daemon);
    const outputs = await store.derivationOutputs(DERIVATION);
    assert.deepEqual(outputs, new Map([["out", undefined]]));
  });

  it("refuses answers about paths of another store, and more answers than questions", async () => {
    for (const paths of [["/elsewhere/x"], [DERIVATION, DERIVATION]]) {
      const answer = new WireWriter().int(LAST).strings(paths);
      await using daemon = await FakeDaemon.start(says(34, QUERY_VALID + 8, answer));
      await using store = await storeAt(daemon);
      await assert.rejects(store.validPaths([DERIVATION]), { code: "STORE_PROTOCOL" });
    }
  });

  it("closes the connection of a hold that failed", async () => {
    const hungUp = Promise.withResolvers<undefined>();
    const failing = greeting(25, async (peer) => {
      await peer.take(new WireWriter().int(11).string(DERIVATION).toBytes().length);
      peer.send(new WireWriter().int(ERROR).string("no room").int(1).toBytes());
      await peer.hangUp();
      hungUp.resolve(undefined);
    });
    await using daemon = await FakeDaemon.start(greeting(25), failing);
    await using store = await storeAt(daemon);
    await assert.rejects(store.hold([DERIVATION]), { code: "STORE_FAILED", message: /no room/ });
    await hungUp.promise;
  });
});
