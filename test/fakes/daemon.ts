import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";

import { WireWriter } from "../../src/store/wire.ts";
import { tempDir, type TempDir } from "../temp.ts";

const MAGIC = 0x6478696f;
const LAST = 0x616c7473;

/** What a fake daemon does with one connection; an error in it is the test's failure. */
export type Script = (peer: Peer) => Promise<void>;

/** The daemon's end of one connection. */
export class Peer {
  readonly socket: Socket;
  readonly #chunks: AsyncIterator<Buffer>;
  #buffer = Buffer.alloc(0);

  constructor(socket: Socket) {
    this.socket = socket;
    this.#chunks = socket.iterator({ destroyOnReturn: false });
  }

  /** The next `size` bytes of the client; fewer if it hangs up. */
  async take(size: number): Promise<Buffer> {
    while (this.#buffer.length < size) {
      const { value, done } = await this.#chunks.next();
      if (done === true) break;
      this.#buffer = Buffer.concat([this.#buffer, value]);
    }
    const bytes = this.#buffer.subarray(0, size);
    this.#buffer = this.#buffer.subarray(size);
    return bytes;
  }

  /** Waits until the client hangs up. */
  async hangUp(): Promise<void> {
    while ((await this.take(1 << 16)).length === 1 << 16);
  }

  send(bytes: Uint8Array | string): void {
    this.socket.write(typeof bytes === "string" ? Buffer.from(bytes, "hex") : bytes);
  }
}

/** A server on a Unix socket that says what a test tells it to say, one script a connection. */
export class FakeDaemon implements AsyncDisposable {
  readonly socketPath: string;
  readonly #dir: TempDir;
  readonly #server: Server;
  readonly #peers = new Set<Socket>();
  readonly #scripts: Promise<void>[] = [];
  #connections = 0;

  private constructor(dir: TempDir, scripts: readonly Script[]) {
    this.#dir = dir;
    this.socketPath = join(dir.dir, "socket");
    this.#server = createServer((socket) => {
      const script = scripts[Math.min(this.#connections++, scripts.length - 1)];
      this.#peers.add(socket);
      // A client that gives up resets the connection, which is what many tests are about.
      socket.on("error", () => undefined);
      if (script !== undefined) this.#scripts.push(this.#run(script, new Peer(socket)));
    });
  }

  /** The n-th connection gets the n-th script, later ones the last. */
  static async start(...scripts: Script[]): Promise<FakeDaemon> {
    const daemon = new FakeDaemon(await tempDir(), scripts);
    daemon.#server.listen(daemon.socketPath);
    await once(daemon.#server, "listening");
    return daemon;
  }

  get connections(): number {
    return this.#connections;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const peer of this.#peers) peer.destroy();
    const closed = once(this.#server, "close");
    this.#server.close();
    await closed;
    await this.#dir[Symbol.asyncDispose]();
    await Promise.all(this.#scripts);
  }

  async #run(script: Script, peer: Peer): Promise<void> {
    try {
      await script(peer);
    } catch (error) {
      if (!(error instanceof Error && "code" in error)) throw error;
    } finally {
      peer.socket.end();
    }
  }
}

/** Shakes hands as a daemon of protocol `1.<minor>` and then follows `script`. */
export function greeting(minor: number, script: Script = async (peer) => peer.hangUp()): Script {
  return async (peer) => {
    peer.send(
      new WireWriter()
        .int(MAGIC)
        .int(256 + minor)
        .toBytes(),
    );
    const features = minor >= 38 ? 1 : 0;
    if (minor >= 38) peer.send(new WireWriter().strings(["some-feature"]).toBytes());
    if (minor >= 33) peer.send(new WireWriter().string("2.99.9").toBytes());
    if (minor >= 35) peer.send(new WireWriter().int(1).toBytes());
    peer.send(new WireWriter().int(LAST).toBytes());
    await peer.take(8 * (4 + features));
    await script(peer);
  };
}
