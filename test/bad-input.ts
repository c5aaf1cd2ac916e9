import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { RequestListener, Server as HttpServer } from "node:http";
import { createServer as createRawServer } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";

import type { Result } from "./handpick.ts";

/** The end of a run by an error, as its user sees it. */
export interface Refusal {
  readonly status: number;
  readonly code: string | undefined;
  readonly message: string;
  readonly hint: string | undefined;
}

const ERROR =
  /^handpick: ([^\n]+(?:\n {2}(?:ours|theirs) [^\n]+)*) \[([A-Z_]+)\]\n(?: {2}([^\n]+)\n)?$/;
const RETRY = /^[\w-]+: .*; trying again in \d+ s\n/gm;

/**
 * The one error that a run ended with. Notices that something is tried again may stand before it;
 * any other line, a stack or what steers a terminal fails the test.
 */
export function refusalOf({ status, stdout, stderr }: Result): Refusal {
  assert.equal(stdout, "", "nothing is answered");
  const [, message = "", code, hint] = ERROR.exec(stderr.replace(RETRY, "")) ?? [];
  assert.notEqual(code, undefined, `one error and its hint, found: ${stderr}`);
  assert.doesNotMatch(stderr, /(?!\n)[\p{Cc}\p{Cf}]/u);
  return { status, code, message, hint };
}

/** Checks exit code, error code and words, and that the user is told what to do. */
export function assertRefused(
  result: Result,
  expected: { readonly status: number; readonly code: string; readonly message: RegExp },
): void {
  const { message, hint, ...found } = refusalOf(result);
  assert.deepEqual(found, { status: expected.status, code: expected.code }, message);
  assert.match(message, expected.message);
  assert.notEqual(hint, undefined, `what to do about: ${message}`);
}

/** A server on loopback that is not what it should be. */
export interface Stranger extends AsyncDisposable {
  readonly port: number;
}

/** Listens and does with each connection what `talk` does. */
export async function startRaw(talk: (socket: Socket) => void): Promise<Stranger> {
  const sockets = new Set<Socket>();
  const server = createRawServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined); // clients that give up reset the connection
    talk(socket);
  });
  return listening(server, () => {
    for (const socket of sockets) socket.destroy();
  });
}

/** Listens for HTTP, or with another `server` for what is like it. */
export async function startWeb(
  answer: RequestListener,
  server: HttpServer = createServer(),
): Promise<Stranger> {
  server.on("request", answer);
  return listening(server, () => server.closeAllConnections());
}

async function listening(server: Server, cut: () => void): Promise<Stranger> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, "close");
      server.close();
      cut();
      await closed;
    },
  };
}
