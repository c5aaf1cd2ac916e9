import type { Operation } from "../../fakes/attic-service.ts";
import type { Published } from "../../fakes/attic-service.ts";
import { operationOf, startFakeAttic } from "../../fakes/attic.ts";
import { encodeBase32 } from "../../../src/nix/base32.ts";
import { answering, htmlAfter, silent } from "../../faults/faults.ts";
import { httpEffects } from "../effects.ts";
import type { PublishedPath } from "../evidence.ts";
import { ServerFaults } from "../server-faults.ts";
import type { CacheOptions, CampaignCache, CampaignKind, CueRow } from "./kind.ts";
import { ServerCache } from "./server-cache.ts";
import { textOf } from "./told.ts";
import { placeToken } from "./token.ts";

const CUES: readonly (CueRow & { readonly cue: Operation | "any" | "time" })[] = [
  { cue: "config", weight: 1, most: 2 },
  { cue: "missing", weight: 2, most: 4 },
  { cue: "upload", weight: 6, most: 14 },
  { cue: "any", weight: 3, most: 14 },
  { cue: "time", weight: 2, most: 14 },
];

const EFFECTS = httpEffects({
  upload: [
    { name: "cut within", play: (exchange) => exchange.cutWithin(100) },
    { name: "done, and silence", play: silent },
    { name: "done, and 400", play: htmlAfter(400) },
    { name: "400", play: answering(400) },
    { name: "413", play: answering(413) },
    { name: "500 for good", play: answering(500) },
    { name: "503 for good", play: answering(503) },
  ],
});

const REFUSALS: ReadonlySet<string> = new Set("401|403|404|403, a page|token revoked".split("|"));

/** Caches of Attic servers: each path is one request, which publishes it or does nothing. */
export const atticKind: CampaignKind = {
  name: "attic",
  cues: CUES,
  effectsOf: EFFECTS.effectsOf,
  isRefusal: ({ effect }) => REFUSALS.has(effect),
  questions: new Set(["config", "missing"]),
  told: (request) => textOf(request).replace(/"deriver":"[^"]*"/, ""),
  unended: () => [],
  start,
};

async function start(options: CacheOptions): Promise<CampaignCache> {
  const { name, upstream } = options;
  const server = await startFakeAttic(name);
  const { service } = server;
  if (upstream !== undefined) service.upstream.add(upstream.hashPart);
  const faults = new ServerFaults(name, {
    operationOf: ({ method, target }) => operationOf({ method, url: target }, name),
    uploadOf: () => "",
    handlerOf: EFFECTS.handlerOf,
  });
  const host = await faults.before(server.url);
  const { settings, env } = await placeToken(options);
  return new ServerCache({
    kind: "attic",
    options,
    faults,
    server,
    settings: { url: `attic://attic.example/${name}`, host, ...settings },
    env,
    setToken: (token) => void (service.token = token),
    contents: () => ({
      published: new Map([...service.published].map(([hash, one]) => [hash, publishedOf(one)])),
      isVisible: (hashPart) => service.published.has(hashPart),
      open: [],
      pins: [],
      violations: service.violations,
      flaws: [],
    }),
    evict: (hashPart) => void service.published.delete(hashPart),
  });
}

function publishedOf({ description, nar }: Published): PublishedPath {
  const digest = Buffer.from(description.nar_hash.slice("sha256:".length), "hex");
  return {
    narHash: `sha256:${encodeBase32(digest)}`,
    narSize: description.nar_size,
    references: description.references,
    nar: () => nar,
  };
}
