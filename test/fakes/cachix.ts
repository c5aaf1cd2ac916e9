import type { IncomingMessage } from "node:http";

import { FakeService } from "./cachix-service.ts";
import type { Operation, RecordedRequest } from "./cachix-service.ts";
import { type Script, ScriptedServers } from "./scripted-servers.ts";

/** A Cachix service on two loopback ports, one for the API and one for storage. */
export interface FakeCachix extends AsyncDisposable {
  /** The base URL of the API. */
  readonly url: string;
  readonly cacheName: string;
  /** State and rules, for a test to look at and to change. */
  readonly service: FakeService;
  readonly violations: readonly string[];
  /** All requests so far, in the order in which they were complete. */
  readonly requests: readonly RecordedRequest[];
  /** The requests for one thing. */
  of(operation: Operation): RecordedRequest[];
  /** Scripts the next request for `operation` that has no script yet. */
  next(operation: Operation): Script<Operation>;
  close(): Promise<void>;
}

/** Starts a fake; `cacheName` is the only cache it has. */
export async function startFakeCachix(cacheName = "acme"): Promise<FakeCachix> {
  const service = new FakeService(cacheName);
  const servers = new ScriptedServers<Operation>((request) => service.handle(request));
  service.apiUrl = await servers.listen(operationOf);
  service.storageUrl = await servers.listen(() => "put");
  return {
    url: service.apiUrl,
    cacheName,
    service,
    violations: service.violations,
    requests: servers.requests,
    of: (operation) => servers.of(operation),
    next: (operation) => servers.next(operation),
    close: () => servers.close(),
    [Symbol.asyncDispose]: () => servers.close(),
  };
}

/** What a request of the API is for. */
export function operationOf({
  method,
  url = "",
}: Pick<IncomingMessage, "method" | "url">): Operation {
  const path = url.replace(/\?.*$/, "");
  const match = /^\/api\/v1\/cache\/[^/]+(?:\/(.*))?$/.exec(path);
  if (match === null) return "unknown";
  const rest = (match[1] ?? "").replace(/^multipart-nar\/[^/]+/, "multipart-nar/ID");
  return OPERATIONS.get(`${method} ${rest}`) ?? "unknown";
}

const OPERATIONS = new Map<string, Operation>([
  ["GET ", "info"],
  ["POST narinfo", "missing"],
  ["POST multipart-nar", "begin"],
  ["POST multipart-nar/ID", "part-url"],
  ["POST multipart-nar/ID/complete", "complete"],
  ["POST multipart-nar/ID/abort", "abort"],
  ["POST pin", "pin"],
  ["GET pin", "list-pins"],
  ["POST key", "key"],
]);
