import type { IncomingMessage } from "node:http";

import { AtticService, type Operation } from "./attic-service.ts";
import { type RecordedRequest, type Script, ScriptedServers } from "./scripted-servers.ts";

/** An Attic server on a loopback port. */
export interface FakeAttic extends AsyncDisposable {
  /** Its base URL. */
  readonly url: string;
  /** Its only cache. */
  readonly cacheName: string;
  /** State and rules, for a test to look at and to change. */
  readonly service: AtticService;
  /** All requests so far, in the order in which they were complete. */
  readonly requests: readonly RecordedRequest<Operation>[];
  /** The requests for one thing. */
  of(operation: Operation): RecordedRequest<Operation>[];
  /** Scripts the next request for `operation` that has no script yet. */
  next(operation: Operation): Script<Operation>;
}

export async function startFakeAttic(cacheName = "acme"): Promise<FakeAttic> {
  const service = new AtticService(cacheName);
  const servers = new ScriptedServers<Operation>((request) => service.handle(request));
  return {
    url: await servers.listen((incoming) => operationOf(incoming, cacheName)),
    cacheName,
    service,
    requests: servers.requests,
    of: (operation) => servers.of(operation),
    next: (operation) => servers.next(operation),
    [Symbol.asyncDispose]: () => servers.close(),
  };
}

/** What a request to the server is for. */
export function operationOf(
  { method = "", url = "" }: Pick<IncomingMessage, "method" | "url">,
  cacheName: string,
): Operation {
  const call = `${method} ${url}`;
  if (/^GET \/_api\/v1\/cache-config\/[\w+-]{1,50}$/.test(call)) return "config";
  if (call === "POST /_api/v1/get-missing-paths") return "missing";
  if (call === "PUT /_api/v1/upload-path") return "upload";
  if (!["GET", "HEAD"].includes(method) || !url.startsWith(`/${cacheName}/`)) return "unknown";
  const name = url.slice(cacheName.length + 2);
  if (name === "nix-cache-info") return "info";
  if (/^\w{32}\.narinfo$/.test(name)) return "narinfo";
  return /^nar\/\w{32}\.nar$/.test(name) ? "nar" : "unknown";
}
