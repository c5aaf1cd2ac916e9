import { once } from "node:events";
import { connect, createServer, type AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/** Finds a port that was free a moment ago, for servers that do not tell the one that they chose for 0. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** A server that was started. */
export interface StartedServer {
  /** A port of this machine, or the name of a socket. */
  readonly at: number | string;
  /** Settles when the server ends. */
  readonly ended: Promise<unknown>;
  /** Returns the words of the server, for the error. */
  readonly words?: () => string | Promise<string>;
}

/**
 * Waits until a server accepts connections. Many say nothing when they do, so it is tried every 10 ms.
 *
 * @throws {Error} If the server ends, or does not accept within 10 s.
 */
export async function accepting({ at, ended, words = () => "" }: StartedServer): Promise<void> {
  const deadline = performance.now() + 10_000;
  let hasEnded = false;
  const note = (): void => void (hasEnded = true);
  void ended.then(note, note);
  while (!(await accepts(at))) {
    if (hasEnded || performance.now() > deadline) {
      throw new Error(`Cannot reach the server at ${at}: ${await words()}`);
    }
    await sleep(10);
  }
}

async function accepts(at: number | string): Promise<boolean> {
  const socket = connect(typeof at === "number" ? { port: at, host: "127.0.0.1" } : { path: at });
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
