import { zstdDecompressSync } from "node:zlib";

import { operationOf, startFakeCachix } from "../../fakes/cachix.ts";
import { texts } from "../../fakes/cachix-checks.ts";
import type { Operation, Published } from "../../fakes/cachix-service.ts";
import { lastingFaults, passingFaults } from "../../faults/faults.ts";
import { CLOSING, httpEffects } from "../effects.ts";
import type { PublishedPath } from "../evidence.ts";
import type { LoggedRequest } from "../fault-player.ts";
import { isStroke } from "../fault-step.ts";
import { ServerFaults, type Speech } from "../server-faults.ts";
import type { CacheOptions, CampaignCache, CampaignKind, CueRow } from "./kind.ts";
import { ServerCache } from "./server-cache.ts";
import { textOf } from "./told.ts";
import { placeToken } from "./token.ts";

const CUES: readonly (CueRow & { readonly cue: Operation | "any" | "time" })[] = [
  { cue: "info", weight: 1, most: 2 },
  { cue: "missing", weight: 1, most: 2 },
  { cue: "begin", weight: 2, most: 14 },
  { cue: "part-url", weight: 2, most: 14 },
  { cue: "put", weight: 3, most: 14 },
  { cue: "complete", weight: 3, most: 14 },
  { cue: "abort", weight: 1, most: 14 },
  { cue: "pin", weight: 1, most: 2 },
  { cue: "list-pins", weight: 1, most: 2 },
  { cue: "any", weight: 3, most: 14 },
  { cue: "time", weight: 2, most: 14 },
];

const EFFECTS = httpEffects(
  Object.fromEntries(
    CUES.flatMap(({ cue }) =>
      cue === "any" || cue === "time"
        ? []
        : [[cue, [...passingFaults(cue), ...lastingFaults(cue)]]],
    ),
  ),
);

const REFUSALS: ReadonlySet<string> = new Set(
  "401|403|404|403, a page|token revoked|expired".split("|"),
);

/** The meaning of requests to Cachix, and to servers that speak as it does. */
export const CACHIX_SPEECH: Speech = {
  operationOf: ({ method, target }) =>
    method === "PUT" ? "put" : operationOf({ method, url: target }),
  uploadOf: ({ target }) => /\/(?:multipart-nar|bucket|upload)\/([^/?]+)/.exec(target)?.[1] ?? "",
  handlerOf: EFFECTS.handlerOf,
};

/** Caches of the service that Cachix is. */
export const cachixKind: CampaignKind = {
  name: "cachix",
  cues: CUES,
  effectsOf: EFFECTS.effectsOf,
  // Without any key a bare 400 to a publication reads as the want of one, which only the user can mend.
  isRefusal: ({ operation, effect }) =>
    REFUSALS.has(effect) || (operation === "complete" && effect === "400"),
  questions: new Set(["info", "missing", "list-pins"]),
  told: (request) => textOf(request).replace(/"cDeriver":"[^"]*"/, ""),
  unended: ({ open, log }) =>
    open
      .filter((upload) => log.some((one) => one.upload === upload))
      .filter((upload) => !log.some((one) => one.upload === upload && isLast(one)))
      .filter((upload) => !isAskedUnheard(upload, log)),
  givenUpTooEarly: ({ log }) =>
    log
      .filter(({ operation }) => operation === "abort")
      .filter(({ upload, at }) => log.some((one) => one.upload === upload && mayWork(one, at)))
      .map(({ upload }) => upload),
  start,
};

/** Whatever the cache made of the request. */
function isLast({ operation }: LoggedRequest): boolean {
  return operation === "abort" || operation === "complete";
}

/**
 * The question to publish may have gone to a connection that was closed meanwhile. Nobody heard it, and
 * the client cannot know that.
 */
function isAskedUnheard(upload: string, log: readonly LoggedRequest[]): boolean {
  const isClosing = log.some(({ fault }) => fault?.effect === CLOSING);
  const puts = log.filter((one) => one.upload === upload && one.operation === "put");
  return isClosing && (puts.at(-1)?.status() ?? 0) === 200;
}

/** The cache works on the publication, or did it: success is its answer, or nobody waited for one. */
function mayWork({ operation, at, status, fault }: LoggedRequest, abortedAt: number): boolean {
  // An answer that a fault made up, or lost, says that the client knew no better.
  const isServed = fault === undefined || isStroke(fault.effect);
  return operation === "complete" && at < abortedAt && isServed && (status() ?? 200) < 300;
}

async function start(options: CacheOptions): Promise<CampaignCache> {
  const { name, hides, upstream } = options;
  const server = await startFakeCachix(name);
  const { service } = server;
  const faults = new ServerFaults(name, CACHIX_SPEECH);
  service.apiUrl = await faults.before(service.apiUrl);
  service.storageUrl = await faults.before(service.storageUrl);
  // A cache knows nothing of an upstream of its readers, and would hide all that needs it.
  service.hidesIncompleteClosures = hides && upstream === undefined;
  const { settings, env } = await placeToken(options);
  return new ServerCache({
    kind: "cachix",
    options,
    faults,
    server,
    settings: { url: `cachix://${name}`, host: service.apiUrl, ...settings },
    env,
    setToken: (token) => void (service.token = token),
    contents: () => ({
      published: new Map([...service.published].map(([hash, one]) => [hash, publishedOf(one)])),
      isVisible: (hashPart) => service.isVisible(hashPart),
      open: service.openUploadIds,
      pins: service.pins,
      violations: service.violations,
      flaws: [],
    }),
    evict: (hashPart) => void service.published.delete(hashPart),
  });
}

/** The NAR is in one frame. */
function publishedOf({ narInfo, file }: Published): PublishedPath {
  return {
    narHash: narInfo["cNarHash"],
    narSize: narInfo["cNarSize"],
    references: texts(narInfo["cReferences"]),
    nar: () => zstdDecompressSync(file),
  };
}
