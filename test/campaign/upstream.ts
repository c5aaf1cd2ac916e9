import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

import type { NixRecord } from "../crash/cache-check.ts";
import { hashPartOf } from "./evidence.ts";
import { SHARED_EFFECTS } from "./effects.ts";
import type { FaultStep } from "./fault-step.ts";
import type { CacheStriking } from "./kinds/kind.ts";
import { ServerFaults } from "./server-faults.ts";

/** A binary cache that readers have besides, behind the faults of a run. */
export interface CampaignUpstream extends AsyncDisposable {
  readonly url: string;
  /** Where no fault stands before it. */
  readonly own: string;
  readonly faults: ServerFaults;
  begin(faults: readonly FaultStep[], striking: CacheStriking): void;
}

/** Starts an upstream that serves the narinfo of one path, and nothing else. */
export async function startUpstream(record: NixRecord): Promise<CampaignUpstream> {
  await using stack = new AsyncDisposableStack();
  const server = createServer(({ url, method }, response) => {
    const isThere = url === `/${hashPartOf(record.path)}.narinfo`;
    response.writeHead(isThere ? 200 : 404, { "content-type": "text/x-nix-narinfo" });
    response.end(isThere && method === "GET" ? narInfoOf(record) : "");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  stack.defer(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  });
  const speech = { operationOf: () => "narinfo", uploadOf: () => "" };
  const { handlerOf } = SHARED_EFFECTS;
  const faults = stack.use(new ServerFaults("upstream", { ...speech, handlerOf }));
  const own = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const url = await faults.before(own);
  const kept = stack.move();
  const begin: CampaignUpstream["begin"] = (steps, striking) => {
    const revokeToken = (): void => undefined; // it has none
    faults.player.begin(steps, { ...striking, revokeToken, goAway: () => faults.goAway() });
  };
  return { url, own, faults, begin, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

function narInfoOf({ path, narHash, narSize }: NixRecord): string {
  const file = `nar/${hashPartOf(path)}.nar`;
  return [
    `StorePath: ${path}`,
    `URL: ${file}`,
    "Compression: none",
    `FileHash: ${narHash}`,
    `FileSize: ${narSize}`,
    `NarHash: ${narHash}`,
    `NarSize: ${narSize}`,
    "References: ",
    "",
  ].join("\n");
}
