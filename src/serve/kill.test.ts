import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { request } from "node:http";
import { join } from "node:path";
import { describe, it } from "node:test";

import {
  md5Of,
  sample,
  type Sample,
  ServeClient,
  startTestServer,
  temporaryFolder,
} from "../../test/serve-client.ts";
import { parseNarInfo } from "../nix/narinfo.ts";

const SERVER = new URL("server.ts", import.meta.url).href;
const SCRIPT = `
  import { startServer } from ${JSON.stringify(SERVER)};
  const [dir] = process.argv.slice(-1);
  const server = await startServer({ dir, host: "127.0.0.1", port: 0, name: "acme", isPrivate: false });
  process.stdout.write(server.url);
`;

interface Child extends AsyncDisposable {
  readonly client: ServeClient;
  readonly kill: () => Promise<void>;
}

/** Starts a server as a process of its own. */
async function startChild(dir: string): Promise<Child> {
  const child: ChildProcess = spawn(
    process.execPath,
    ["--input-type=module", "--eval", SCRIPT, "--", dir],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const [url]: unknown[] = await once(child.stdout ?? child, "data", {
    signal: AbortSignal.timeout(20_000),
  });
  const token = (await readFile(join(dir, "token"), "utf8")).trim();
  const exited = once(child, "exit");
  const kill = async (): Promise<void> => {
    child.kill("SIGKILL");
    await exited;
  };
  return {
    client: new ServeClient(String(url), "acme", token),
    kill,
    [Symbol.asyncDispose]: kill,
  };
}

async function assertServed(client: ServeClient, pushed: Sample): Promise<void> {
  const { status, text } = await client.narInfo(pushed.storePath);
  assert.equal(status, 200);
  const nar = await fetch(`${client.url}/${parseNarInfo(text).url}`);
  assert.deepEqual(Buffer.from(await nar.arrayBuffer()), pushed.file);
}

describe("a server that was killed", () => {
  it("has what it finished, drops half a part and lets clients go on", async () => {
    await using folder = await temporaryFolder();
    const dir = folder.path;
    await using first = await startChild(dir);
    const done = sample("done");
    await first.client.push(done);
    const resumed = sample("resumed", { contents: "x".repeat(500) });
    const half = Math.ceil(resumed.file.length / 2);
    const started = await first.client.begin();
    const one = await first.client.putPart(started, 1, resumed.file.subarray(0, half));

    const md5 = md5Of(resumed.file.subarray(half));
    const url = await first.client.partUrl(started, 2, md5);
    const headers = { "content-md5": md5, "content-length": String(resumed.file.length - half) };
    const put = request(url, { method: "PUT", headers });
    put.on("error", () => {});
    await new Promise((resolve) => put.write(resumed.file.subarray(half, half + 5), resolve));
    await first.client.missing([]);
    await first.kill();

    await using second = await startTestServer({ dir });
    assert.deepEqual(await readdir(join(dir, "tmp")), []);
    assert.equal((await readdir(join(dir, "parts"))).length, 1);
    const { client } = second;
    await assertServed(client, done);
    const two = await client.putPart(started, 2, resumed.file.subarray(half));
    const response = await client.complete(started, [one, two], resumed.narInfoCreate);
    assert.equal(response.status, 200);
    await assertServed(client, resumed);
  });

  it("keeps every path it ever said yes to, wherever it was hit", async () => {
    await using folder = await temporaryFolder();
    const dir = folder.path;
    const acknowledged: Sample[] = [];
    for (let round = 0; round < 3; round += 1) {
      await using child = await startChild(dir);
      let count = 0;
      const enough = Promise.withResolvers<void>();
      const pusher = async (name: string): Promise<void> => {
        for (let i = 0; ; i += 1) {
          const pushed = sample(`${name}-${i}`, { contents: name.repeat(2000) });
          await child.client.push(pushed, 40);
          acknowledged.push(pushed);
          count += 1;
          if (count >= 3 + round) enough.resolve();
        }
      };
      const pushers = Array.from({ length: 4 }, (_, i) => pusher(`${round}-${i}`));
      const ended = Promise.allSettled(pushers);
      await enough.promise;
      await child.kill();
      await ended;
    }
    await using rig = await startTestServer({ dir });
    for (const pushed of acknowledged) await assertServed(rig.client, pushed);
    assert.ok(acknowledged.length >= 12);
    assert.deepEqual(await readdir(join(dir, "tmp")), []);
  });

  it("publishes once what it was completing, when the client says it again", async () => {
    await using folder = await temporaryFolder();
    const dir = folder.path;
    await using first = await startChild(dir);
    const contents = Buffer.from(Array.from({ length: 4_000_000 }, (_, i) => (i * i * 31) >> 3));
    const pushed = sample("big", { contents });
    const { started, parts } = await first.client.upload(pushed, 1_000_000);
    const lost = first.client.complete(started, parts, pushed.narInfoCreate);
    const failed = lost.then(
      () => false,
      () => true,
    );
    // The answer to another request says that the server has seen this one.
    await first.client.missing([]);
    await first.kill();
    await failed;
    await using second = await startTestServer({ dir });
    assert.deepEqual(await readdir(join(dir, "tmp")), []);
    const again = await second.client.complete(started, parts, pushed.narInfoCreate);
    assert.equal(again.status, 200);
    await assertServed(second.client, pushed);
  });
});
