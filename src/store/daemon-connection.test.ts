import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { FakeDaemon, greeting, type Peer, type Script } from "../../test/fakes/daemon.ts";
import { SLOW_FUZZ_RUNS, hostileBytes } from "../../test/fuzz.ts";
import { HandpickError } from "../error.ts";
import { sha256FromHex } from "../nix/hash.ts";
import { parseStorePath, type StorePath, storeDirOf } from "../nix/store-path.ts";
import { connectDaemon, type ConnectOptions, type DaemonConnection } from "./daemon-connection.ts";
import { queryPathInfos } from "./daemon-requests.ts";
import { WireWriter } from "./wire.ts";

const MAGIC = 0x6478696f;
const LAST = 0x616c7473;
const ERROR = 0x63787470;
const NEXT = 0x6f6c6d67;
const START_ACTIVITY = 0x53545254;
const STOP_ACTIVITY = 0x53544f50;
const RESULT = 0x52534c54;
const QUERY_PATH_FROM_HASH_PART = 29;
const PATH = parseStorePath("/nix/store/00000000000000000000000000000000-x");

const never = new AbortController().signal;

async function connectTo(
  daemon: FakeDaemon,
  options?: Partial<ConnectOptions>,
): Promise<DaemonConnection> {
  return connectDaemon(daemon.socketPath, { signal: never, ...options });
}

/** The answer to a question for path information. */
function pathInfo(fields: {
  readonly narSize: number;
  readonly references?: readonly string[];
  readonly signatures?: readonly string[];
}): WireWriter {
  const answer = new WireWriter().int(LAST).int(1).string("").string("0".repeat(64));
  answer
    .strings(fields.references ?? [])
    .int(1)
    .int(fields.narSize)
    .int(1);
  return answer.strings(fields.signatures ?? []).string("");
}

/** Reads one QueryPathInfo for {@link PATH}. */
async function takeQuestion(peer: Peer): Promise<void> {
  await peer.take(new WireWriter().int(26).string(PATH).toBytes().length);
}

/** A daemon that answers each question for path information with these bytes, then hangs up. */
function answering(minor: number, ...answers: WireWriter[]): Script {
  return greeting(minor, async (peer) => {
    for (const answer of answers) {
      await takeQuestion(peer);
      peer.send(answer.toBytes());
    }
  });
}

async function ask(daemon: FakeDaemon, options?: Partial<ConnectOptions>): Promise<unknown> {
  const connection = await connectTo(daemon, options);
  try {
    return (await queryPathInfos(connection, [PATH], "/nix/store"))[0];
  } finally {
    connection.close();
  }
}

interface Step {
  readonly step: string;
  readonly result: {
    readonly daemon?: string;
    readonly version?: string;
    readonly trust?: number | null;
    readonly deriver?: string;
    readonly narHash?: string;
    readonly narSize?: number;
    readonly registrationTime?: number;
    readonly sigs?: readonly string[];
  };
  readonly sent: string;
  readonly received: string;
}

function stepsOf(version: string): (name: string) => Step {
  const url = new URL(`../../test/vectors/wire/nix-${version}.json`, import.meta.url);
  const steps: readonly Step[] = JSON.parse(readFileSync(url, "utf8"));
  return (name) => {
    const step = steps.find((step) => step.step.startsWith(name));
    assert.ok(step, `${name} is among the recorded steps`);
    return step;
  };
}

/** The path that a recorded request asks about. */
function pathIn({ sent }: Step): StorePath {
  const text = Buffer.from(sent, "hex").subarray(16).toString("latin1").replace(/\0+$/, "");
  return parseStorePath(text, text.slice(0, text.lastIndexOf("/")));
}

/** Plays recorded steps, and checks that the client sends what the recording client sent. */
function replay(steps: readonly Step[]): Script {
  return async (peer) => {
    const [handshake, ...others] = steps;
    // Magic and version come first; the rest of the greeting may wait in the socket.
    peer.send(handshake?.received ?? "");
    const greeting = Buffer.from(handshake?.sent ?? "", "hex");
    assert.equal((await peer.take(greeting.length)).toString("hex"), greeting.toString("hex"));
    for (const { sent, received } of others) {
      assert.equal((await peer.take(sent.length / 2)).toString("hex"), sent);
      peer.send(received);
    }
    await peer.hangUp();
  };
}

describe("connectDaemon()", () => {
  for (const version of ["2.8.0", "2.26.3", "2.34.8"]) {
    it(`speaks with a recorded Nix ${version} byte for byte`, async () => {
      const step = stepsOf(version);
      const handshake = step("handshake");
      const [valid, missing] = [step("QueryPathInfo valid"), step("QueryPathInfo missing")];
      await using daemon = await FakeDaemon.start(replay([handshake, valid, missing]));
      const connection = await connectTo(daemon);
      const { daemon: protocol, version: nix, trust } = handshake.result;
      const trusted = trust === undefined || trust === null ? undefined : trust === 1;
      assert.deepEqual(connection.version, { minor: Number(protocol?.slice(2)), nix, trusted });
      const paths = [pathIn(valid), pathIn(missing)];
      const infos = await queryPathInfos(connection, paths, storeDirOf(pathIn(valid)));
      const { deriver, narHash, narSize, registrationTime, sigs } = valid.result;
      const expected = {
        path: pathIn(valid),
        narHash: sha256FromHex(narHash ?? ""),
        narSize,
        references: [],
        deriver,
        registrationTime,
        ultimate: false,
        signatures: sigs,
        contentAddress: undefined,
      };
      assert.deepEqual(infos, [expected, undefined]);
      connection.close();
    });

    it(`tells the error of a recorded Nix ${version} and gives the connection up`, async () => {
      const step = stepsOf(version);
      const malformed = step("QueryPathFromHashPart malformed");
      await using daemon = await FakeDaemon.start(replay([step("handshake"), malformed]));
      const connection = await connectTo(daemon);
      const request = new WireWriter().int(QUERY_PATH_FROM_HASH_PART).string("zz");
      const asked = connection.request(request, (reader) => reader.string(64));
      await assert.rejects(asked, { code: "STORE_FAILED", message: /"invalid hash part"/ });
      assert.equal(connection.usable, false);
      assert.equal(connection.lost, false);
    });
  }

  for (const minor of [21, 25, 26, 32, 33, 34, 35, 37, 38, 99]) {
    it(`shakes hands with protocol 1.${minor}`, async () => {
      await using daemon = await FakeDaemon.start(
        answering(minor, new WireWriter().int(LAST).int(0)),
      );
      const connection = await connectTo(daemon);
      const nix = minor >= 33 ? "2.99.9" : undefined;
      const trusted = minor >= 35 ? true : undefined;
      assert.deepEqual(connection.version, { minor: Math.min(minor, 38), nix, trusted });
      assert.deepEqual(await queryPathInfos(connection, [PATH], "/nix/store"), [undefined]);
      connection.close();
    });
  }

  it("says that the daemon refuses this user when it hangs up without a word", async () => {
    await using daemon = await FakeDaemon.start(async () => undefined);
    await assert.rejects(connectTo(daemon), {
      code: "STORE_UNAVAILABLE",
      message: /refused this user/,
      hint: /allowed-users/,
    });
  });

  it("refuses a daemon that is too old, or of another major version", async () => {
    for (const version of [256 + 20, 2 * 256 + 38]) {
      const greeting = new WireWriter().int(MAGIC).int(version).toBytes();
      await using daemon = await FakeDaemon.start(async (peer) => peer.send(greeting));
      await assert.rejects(connectTo(daemon), { code: "STORE_UNSUPPORTED", hint: /Upgrade/ });
    }
  });

  it("refuses a server that is no Nix daemon", async () => {
    const http = Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n");
    for (const greeting of [http, new WireWriter().int(1).toBytes()]) {
      await using daemon = await FakeDaemon.start(async (peer) => peer.send(greeting));
      await assert.rejects(connectTo(daemon), { code: "STORE_PROTOCOL" });
    }
  });

  it("tells an error that stands at the end of the greeting", async () => {
    const greeting = new WireWriter()
      .int(MAGIC)
      .int(256 + 34)
      .string("2.8.0");
    greeting.int(ERROR).string("Error").int(0).string("Error");
    greeting.string("\u001b[31;1mchanging\u001b[0m owner\nof \u0007directory");
    await using daemon = await FakeDaemon.start(async (peer) => peer.send(greeting.toBytes()));
    await assert.rejects(connectTo(daemon), {
      code: "STORE_FAILED",
      message: /"changing owner of directory"$/,
    });
  });

  it("waits for a greeting no longer than it is told", async () => {
    await using daemon = await FakeDaemon.start(async (peer) => peer.hangUp());
    await assert.rejects(connectTo(daemon, { connectTimeoutMs: 20 }), {
      code: "STORE_UNAVAILABLE",
      message: /within 20 ms/,
    });
  });

  it("fails with the system's error where nothing listens", async () => {
    await assert.rejects(connectDaemon("/nonexistent/socket", { signal: never }), {
      code: "ENOENT",
    });
  });

  it("ends with the reason of its signal, before and during the greeting", async () => {
    const reason = new Error("Interrupted");
    const stop = new AbortController();
    const script: Script = async (peer) => {
      stop.abort(reason);
      await peer.hangUp();
    };
    await using daemon = await FakeDaemon.start(script);
    await assert.rejects(connectTo(daemon, { signal: stop.signal }), reason);
    await assert.rejects(connectTo(daemon, { signal: stop.signal }), reason);
    assert.equal(daemon.connections, 1);
  });
});

describe("DaemonConnection", () => {
  it("passes over log lines and activities", async () => {
    const big = Buffer.alloc(8, 0xff);
    const answer = Buffer.concat([
      new WireWriter().int(NEXT).string("warning: something\n").int(START_ACTIVITY).toBytes(),
      big,
      new WireWriter().int(3).int(105).string("building").int(2).int(0).toBytes(),
      big,
      new WireWriter().int(1).string("field").int(0).int(RESULT).toBytes(),
      big,
      new WireWriter().int(105).int(1).int(0).int(7).int(STOP_ACTIVITY).toBytes(),
      big,
      new WireWriter().int(LAST).int(0).toBytes(),
    ]);
    await using daemon = await FakeDaemon.start(
      greeting(34, async (peer) => {
        await takeQuestion(peer);
        peer.send(answer);
      }),
    );
    assert.equal(await ask(daemon), undefined);
  });

  it("tells an error in the form of protocol 1.25", async () => {
    await using daemon = await FakeDaemon.start(
      answering(25, new WireWriter().int(ERROR).string("disk full").int(1)),
    );
    await assert.rejects(ask(daemon), { code: "STORE_FAILED", message: /"disk full"/ });
  });

  it("shortens endless error messages", async () => {
    const error = new WireWriter().int(ERROR).string("x".repeat(100_000)).int(1);
    await using daemon = await FakeDaemon.start(answering(25, error));
    await assert.rejects(ask(daemon), (error: Error) => error.message.length < 500);
  });

  it("refuses unknown messages, such as a wish for data", async () => {
    await using daemon = await FakeDaemon.start(answering(34, new WireWriter().int(0x64617461)));
    await assert.rejects(ask(daemon), { code: "STORE_PROTOCOL", message: /tag 0x64617461/ });
  });

  it("refuses an endless string without taking it in", async () => {
    await using daemon = await FakeDaemon.start(
      answering(34, new WireWriter().int(NEXT).int(2 ** 40)),
    );
    await assert.rejects(ask(daemon), { code: "STORE_PROTOCOL" });
  });

  it("refuses an endless flood of log lines", async () => {
    const line = new WireWriter().int(NEXT).string("x").toBytes();
    await using daemon = await FakeDaemon.start(
      greeting(34, async (peer) => {
        for (let sent = 0; sent < 11; sent++) peer.send(Buffer.concat(Array(1000).fill(line)));
        await peer.hangUp();
      }),
    );
    await assert.rejects(ask(daemon), { code: "STORE_PROTOCOL", message: /10000 messages/ });
  });

  it("tells a daemon that falls silent from one that hangs up", async () => {
    await using silent = await FakeDaemon.start(greeting(34));
    await assert.rejects(ask(silent, { idleTimeoutMs: 20 }), {
      code: "STORE_FAILED",
      message: /20 ms of silence/,
    });
    await using gone = await FakeDaemon.start(answering(34, new WireWriter().int(LAST)));
    const connection = await connectTo(gone);
    await assert.rejects(queryPathInfos(connection, [PATH], "/nix/store"), {
      code: "STORE_FAILED",
    });
    assert.equal(connection.lost, true);
  });

  it("ends a request with the reason of its signal", async () => {
    const stop = new AbortController();
    const reason = new Error("Interrupted");
    await using daemon = await FakeDaemon.start(
      greeting(34, async (peer) => {
        await takeQuestion(peer);
        stop.abort(reason);
        await peer.hangUp();
      }),
    );
    await assert.rejects(ask(daemon, { signal: stop.signal }), reason);
  });

  it("fails requests that wait behind one that broke the connection", async () => {
    await using daemon = await FakeDaemon.start(answering(34, new WireWriter().int(1)));
    const connection = await connectTo(daemon);
    const results = await Promise.allSettled([
      queryPathInfos(connection, [PATH], "/nix/store"),
      queryPathInfos(connection, [PATH], "/nix/store"),
    ]);
    assert.deepEqual(
      results.map(
        (result) => result.status === "rejected" && (result.reason as HandpickError).code,
      ),
      ["STORE_PROTOCOL", "STORE_FAILED"],
    );
    assert.equal(connection.lost, true);
  });

  it("answers thousands of pipelined questions in order", async () => {
    const count = 2000;
    await using daemon = await FakeDaemon.start(
      greeting(34, async (peer) => {
        for (let index = 0; index < count; index++) {
          await takeQuestion(peer);
          peer.send(pathInfo({ narSize: index }).toBytes());
        }
      }),
    );
    const connection = await connectTo(daemon);
    const infos = await queryPathInfos(connection, Array(count).fill(PATH), "/nix/store");
    assert.deepEqual(
      infos.map((info) => info?.narSize),
      Array.from({ length: count }, (_, index) => index),
    );
    connection.close();
  });

  it("gives records or an error for any bytes", async () => {
    const sample = pathInfo({ narSize: 1, references: [PATH], signatures: ["a:b"] }).toBytes();
    const error = new WireWriter().int(ERROR).string("Error").int(0).string("").string("no").int(0);
    await fc.assert(
      fc.asyncProperty(hostileBytes([sample, error.toBytes()]), async (bytes) => {
        await using daemon = await FakeDaemon.start(
          greeting(34, async (peer) => {
            await takeQuestion(peer);
            peer.send(bytes);
          }),
        );
        await ask(daemon).catch((error: unknown) => {
          assert.ok(error instanceof HandpickError);
          assert.match(error.code, /^STORE_(?:FAILED|PROTOCOL)$/);
        });
      }),
      { numRuns: SLOW_FUZZ_RUNS },
    );
  });
});
