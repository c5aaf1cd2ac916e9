import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

import { bodyOf } from "../http-rig.ts";

/** One request, as it came. */
export interface PutRequest {
  readonly method: string;
  /** Path below the root of the cache. */
  readonly name: string;
  readonly headers: IncomingMessage["headers"];
}

/** Answers in place of the server; false leaves it to the server. */
export type Answer = (
  incoming: IncomingMessage,
  response: ServerResponse,
) => boolean | Promise<boolean>;

/** A web server that takes PUT below `/nix/`. */
export interface PutServer extends AsyncDisposable {
  readonly url: string;
  /** All requests, in order. */
  readonly requests: PutRequest[];
  readonly files: Map<string, Buffer>;
  /** Asked before each answer, until it is replaced. */
  answer: Answer;
}

export async function startPutServer(answer: Answer = () => false): Promise<PutServer> {
  const requests: PutRequest[] = [];
  const files = new Map<string, Buffer>();
  const server = createServer((incoming, response) => {
    const { method = "", url = "", headers } = incoming;
    const name = url.replace(/^\/nix\//, "");
    requests.push({ method, name, headers });
    void (async () => {
      if (await rig.answer(incoming, response)) return;
      await serve(incoming, { response, name, files });
    })().catch(() => response.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const rig: PutServer = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/nix`,
    requests,
    files,
    answer,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
  return rig;
}

/** Answers with this status and text to requests of a method, which it reads to their end. */
export function always(
  method: string,
  status: number,
  { text = "", headers = {} }: { text?: string; headers?: Record<string, string> } = {},
): Answer {
  return async (incoming, response) => {
    if (incoming.method !== method) return false;
    await bodyOf(incoming);
    response.writeHead(status, headers).end(text);
    return true;
  };
}

interface Served {
  readonly response: ServerResponse;
  readonly name: string;
  readonly files: Map<string, Buffer>;
}

async function serve(incoming: IncomingMessage, { response, name, files }: Served): Promise<void> {
  const body = await bodyOf(incoming);
  const found = files.get(name);
  if (incoming.method === "PUT") {
    files.set(name, body);
    response.writeHead(found === undefined ? 201 : 204).end();
  } else if (found === undefined) {
    response.writeHead(404).end();
  } else {
    response.writeHead(200, { "content-length": found.length });
    response.end(incoming.method === "HEAD" ? undefined : found);
  }
}
