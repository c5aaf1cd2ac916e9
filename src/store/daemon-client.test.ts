import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { FakeDaemon, greeting, type Script } from "../../test/fakes/daemon.ts";
import { parseStorePath } from "../nix/store-path.ts";
import { DaemonClient } from "./daemon-client.ts";
import { queryPathInfos } from "./daemon-requests.ts";
import { WireWriter } from "./wire.ts";

const LAST = 0x616c7473;
const ERROR = 0x63787470;
const PATH = parseStorePath("/nix/store/00000000000000000000000000000000-x");

const never = new AbortController().signal;

/** Shakes hands, waits for a question and hangs up. */
const dying = greeting(34, async (peer) => {
  await peer.take(1);
});

/** Answers every question: the path is not valid. */
const healthy = greeting(34, async (peer) => {
  const question = new WireWriter().int(26).string(PATH).toBytes();
  while ((await peer.take(question.length)).length > 0) {
    peer.send(new WireWriter().int(LAST).int(0).toBytes());
  }
});

interface Rig extends AsyncDisposable {
  readonly daemon: FakeDaemon;
  readonly client: DaemonClient;
  ask(): Promise<unknown>;
}

async function rig(...scripts: Script[]): Promise<Rig> {
  const daemon = await FakeDaemon.start(...scripts);
  const client = new DaemonClient(daemon.socketPath, { signal: never });
  await client.connected();
  return {
    daemon,
    client,
    ask: () => client.ask((connection) => queryPathInfos(connection, [PATH], "/nix/store")),
    async [Symbol.asyncDispose]() {
      client.close(new Error("The test is over"));
      await daemon[Symbol.asyncDispose]();
    },
  };
}

describe("DaemonClient", () => {
  it("asks again over a new connection when the daemon hung up", async () => {
    await using rigged = await rig(dying, healthy);
    assert.deepEqual(await rigged.ask(), [undefined]);
    assert.deepEqual(await rigged.ask(), [undefined]);
    assert.equal(rigged.daemon.connections, 2);
  });

  it("notices between two questions that the daemon hung up", async () => {
    const once = greeting(34, async (peer) => {
      await peer.take(new WireWriter().int(26).string(PATH).toBytes().length);
      peer.send(new WireWriter().int(LAST).int(0).toBytes());
    });
    await using rigged = await rig(once, healthy);
    assert.deepEqual(await rigged.ask(), [undefined]);
    assert.deepEqual(await rigged.ask(), [undefined]);
    assert.equal(rigged.daemon.connections, 2);
  });

  it("gives up when the daemon hangs up twice, and tries again the next time", async () => {
    await using rigged = await rig(dying, dying, healthy);
    await assert.rejects(rigged.ask(), { code: "STORE_FAILED" });
    assert.deepEqual(await rigged.ask(), [undefined]);
    assert.equal(rigged.daemon.connections, 3);
  });

  it("opens one new connection for several callers", async () => {
    await using rigged = await rig(dying, healthy);
    assert.deepEqual(await Promise.all([rigged.ask(), rigged.ask(), rigged.ask()]), [
      [undefined],
      [undefined],
      [undefined],
    ]);
    assert.equal(rigged.daemon.connections, 2);
  });

  it("does not repeat what the daemon answered with an error", async () => {
    const failing = greeting(25, async (peer) => {
      await peer.take(1);
      peer.send(new WireWriter().int(ERROR).string("no").int(1).toBytes());
      await peer.hangUp();
    });
    await using rigged = await rig(failing, healthy);
    await assert.rejects(rigged.ask(), { code: "STORE_FAILED", message: /"no"/ });
    assert.equal(rigged.daemon.connections, 1);
    assert.deepEqual(await rigged.ask(), [undefined]);
  });

  it("says so when nothing accepts any more", async () => {
    const daemon = await FakeDaemon.start(healthy);
    const client = new DaemonClient(daemon.socketPath, { signal: never });
    await client.connected();
    await daemon[Symbol.asyncDispose]();
    const gone = { code: "STORE_UNAVAILABLE", hint: /Start nix-daemon/ };
    const ask = (): Promise<unknown> =>
      client.ask((connection) => queryPathInfos(connection, [PATH], "/nix/store"));
    await assert.rejects(ask, gone);
    await assert.rejects(() => client.separate(), gone);
  });

  it("leaves separate connections open when it is closed", async () => {
    await using rigged = await rig(healthy);
    const separate = await rigged.client.separate();
    const reason = new Error("Closed");
    rigged.client.close(reason);
    await assert.rejects(rigged.ask(), reason);
    assert.deepEqual(await queryPathInfos(separate, [PATH], "/nix/store"), [undefined]);
    separate.close();
  });
});
