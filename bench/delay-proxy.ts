import { once } from "node:events";
import { Agent, createServer, request } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** What a proxy passed on since it was last reset. */
export interface Passed {
  readonly requests: number;
  /** Those of them that change something. */
  readonly writes: number;
}

/** Stands before a server of this machine as one that is far away. */
export interface DelayProxy extends AsyncDisposable {
  readonly port: number;
  /** Passes requests to the server on this port from now on. */
  leadTo(port: number): void;
  /** Forgets what was counted, and adds this to every answer from now on. */
  reset(delayMs: number): void;
  passed(): Passed;
}

const READS = new Set(["GET", "HEAD"]);

/** Starts a proxy on a free port. */
export async function startDelayProxy(): Promise<DelayProxy> {
  const agent = new Agent({ keepAlive: true });
  const state = { port: 0, delayMs: 0, requests: 0, writes: 0 };
  const server = createServer((incoming, response) => {
    state.requests += 1;
    if (!READS.has(incoming.method ?? "")) state.writes += 1;
    pass({ incoming, response, agent, port: state.port, delayMs: state.delayMs });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    leadTo: (port) => void (state.port = port),
    reset: (delayMs) => void Object.assign(state, { delayMs, requests: 0, writes: 0 }),
    passed: () => ({ requests: state.requests, writes: state.writes }),
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
      agent.destroy();
    },
  };
}

interface Passing {
  readonly incoming: IncomingMessage;
  readonly response: ServerResponse;
  readonly agent: Agent;
  readonly port: number;
  readonly delayMs: number;
}

/** Leaves headers as they are: signatures of S3 include the name of the host. */
function pass({ incoming, response, agent, port, delayMs }: Passing): void {
  const { method, url: path, rawHeaders } = incoming;
  const outgoing = request({ host: "127.0.0.1", port, agent, method, path, headers: rawHeaders });
  outgoing.on("response", (answer) => {
    setTimeout(() => {
      response.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
      answer.pipe(response);
    }, delayMs);
  });
  outgoing.on("error", () => response.destroy());
  incoming.pipe(outgoing);
}
