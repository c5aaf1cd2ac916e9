import { once } from "node:events";
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** What a sink saw since it was last reset. */
export interface Counts {
  readonly requests: number;
  /** Bytes of NARs. */
  readonly bytes: number;
  /** Paths published. */
  readonly paths: number;
}

/** How the sink answers from now on. */
export interface SinkMode {
  /** Added to every request. */
  readonly delayMs: number;
  /** Whether everything that is asked for is there. */
  readonly hasAll: boolean;
}

/**
 * A server that counts bytes and keeps nothing but narinfos. It answers as Cachix does, and as a
 * plain binary cache, so that `nix copy` can put its files there.
 */
export interface Sink extends AsyncDisposable {
  readonly url: string;
  reset(mode?: Partial<SinkMode>): void;
  counts(): Counts;
}

interface Answer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | object;
}

/** Starts a sink on a free port. */
export async function startSink(): Promise<Sink> {
  const state = new SinkState();
  const server = createServer((incoming, response) => {
    state.serve(incoming, response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  state.url = url;
  return {
    url,
    reset: (mode) => state.reset(mode),
    counts: () => ({ requests: state.requests, bytes: state.bytes, paths: state.paths }),
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

class SinkState {
  url = "";
  requests = 0;
  bytes = 0;
  paths = 0;
  readonly #narinfos = new Map<string, string>();
  #mode: SinkMode = { delayMs: 0, hasAll: false };
  #uploads = 0;

  reset(mode: Partial<SinkMode> = {}): void {
    this.#mode = { delayMs: 0, hasAll: false, ...mode };
    this.requests = 0;
    this.bytes = 0;
    this.paths = 0;
    this.#narinfos.clear();
  }

  serve(incoming: IncomingMessage, response: ServerResponse): void {
    const { method = "", url = "" } = incoming;
    const isNar = method === "PUT" && !url.endsWith(".narinfo");
    const chunks: Buffer[] = [];
    incoming.on("data", (chunk: Buffer) => {
      if (isNar) this.bytes += chunk.length;
      else chunks.push(chunk);
    });
    incoming.on("end", () => {
      this.requests += 1;
      const body = Buffer.concat(chunks).toString();
      const answer = (): void => send(response, this.#answer(incoming, body));
      if (this.#mode.delayMs === 0) answer();
      else setTimeout(answer, this.#mode.delayMs);
    });
  }

  #answer({ method = "", url = "", headers }: IncomingMessage, body: string): Answer {
    if (url.startsWith("/api/v1/cache/")) return this.#cachix(url.replace(/\?.*/, ""), body);
    if (url.endsWith(".narinfo")) return this.#narinfo(method, url, body);
    if (method === "PUT") return { headers: { etag: `"${String(headers["content-md5"])}"` } };
    if (url === "/nix-cache-info") return { body: "StoreDir: /nix/store\n" };
    return { status: 404 };
  }

  #cachix(path: string, body: string): Answer {
    if (path.endsWith("/narinfo")) {
      return { body: this.#mode.hasAll ? [] : (JSON.parse(body) as object) };
    }
    if (path.endsWith("/multipart-nar")) {
      this.#uploads += 1;
      const number = String(this.#uploads).padStart(12, "0");
      return { body: { narId: `00000000-0000-4000-8000-${number}`, uploadId: `u${number}` } };
    }
    if (path.endsWith("/complete")) {
      this.paths += 1;
      return { body: {} };
    }
    if (path.endsWith("/abort")) return {};
    if (path.includes("/multipart-nar/")) return { body: { uploadUrl: `${this.url}/storage` } };
    // As Cachix, which publishes in any order.
    const headers = { "handpick-hides-incomplete-closures": "1" };
    return { headers, body: { ...ABOUT, name: "bench", uri: this.url } };
  }

  #narinfo(method: string, url: string, body: string): Answer {
    if (method === "PUT") {
      this.paths += 1;
      this.#narinfos.set(url, body);
      return {};
    }
    const narinfo = this.#narinfos.get(url);
    return narinfo === undefined ? { status: 404 } : { body: narinfo };
  }
}

const ABOUT = {
  isPublic: true,
  publicSigningKeys: ["bench-1:A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="],
  githubUsername: "",
  permission: "Write",
  preferredCompressionMethod: "ZSTD",
};

function send(response: ServerResponse, { status = 200, headers = {}, body = "" }: Answer): void {
  const type = typeof body === "string" ? "text/plain" : "application/json";
  response.writeHead(status, { "content-type": type, ...headers });
  response.end(typeof body === "string" ? body : JSON.stringify(body));
}
