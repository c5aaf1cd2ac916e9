import { startPutServer } from "../../fakes/put-server.ts";
import { answering, silent } from "../../faults/faults.ts";
import { httpEffects } from "../effects.ts";
import { ServerFaults } from "../server-faults.ts";
import type { CacheOptions, CampaignCache, CampaignKind, CueRow } from "./kind.ts";
import { keySettings, readLayout } from "./layout.ts";
import { ServerCache } from "./server-cache.ts";
import { withoutDeriver } from "./told.ts";
import { placeToken } from "./token.ts";

const CUES: readonly CueRow[] = [
  { cue: "get-info", weight: 1, most: 2 },
  { cue: "get-narinfo", weight: 2, most: 14 },
  { cue: "head-nar", weight: 1, most: 2 },
  { cue: "put-info", weight: 1, most: 1 },
  { cue: "put-nar", weight: 3, most: 14 },
  { cue: "put-narinfo", weight: 3, most: 14 },
  { cue: "any", weight: 3, most: 28 },
  { cue: "time", weight: 2, most: 14 },
];

const moved = answering(301, { location: "http://127.0.0.1:9/login" });
const PUT = [
  { name: "405", play: answering(405) },
  { name: "409", play: answering(409) },
  { name: "413", play: answering(413) },
  { name: "301", play: moved },
  { name: "done, and silence", play: silent },
  { name: "500 for good", play: answering(500) },
  { name: "503 for good", play: answering(503) },
];

const EFFECTS = httpEffects({
  "get-info": [{ name: "301", play: moved }],
  "get-narinfo": [{ name: "410", play: answering(410) }],
  "head-nar": [
    { name: "405", play: answering(405) },
    { name: "501", play: answering(501) },
  ],
  "put-info": PUT,
  "put-nar": [{ name: "cut within", play: (exchange) => exchange.cutWithin(100) }, ...PUT],
  "put-narinfo": PUT,
});

const REFUSALS: ReadonlySet<string> = new Set(
  "401|403|404|405|403, a page|token revoked".split("|"),
);

/** Caches that are files on web servers. */
export const httpKind: CampaignKind = {
  name: "http",
  cues: CUES,
  effectsOf: EFFECTS.effectsOf,
  isRefusal: ({ effect }) => REFUSALS.has(effect),
  questions: new Set(["get-info", "get-narinfo", "head-nar"]),
  told: withoutDeriver,
  // A NAR without narinfo is for others as well.
  unended: () => [],
  start,
};

async function start(options: CacheOptions): Promise<CampaignCache> {
  let token = "";
  const violations: string[] = [];
  const server = await startPutServer((incoming, response) => {
    const { method = "", url = "", headers } = incoming;
    const operation = operationOf({ method, target: url });
    if (operation === "unknown") violations.push(`${method} ${url}: nothing has that name`);
    if (headers["user-agent"] === undefined) violations.push(`${operation}: no user-agent`);
    const hasLength = method !== "PUT" || headers["content-length"] !== undefined;
    if (!hasLength) violations.push(`${operation}: no content-length`);
    if (headers.authorization === `Bearer ${token}`) return false;
    response.writeHead(401).end();
    return true;
  });
  const faults = new ServerFaults(options.name, {
    operationOf,
    uploadOf: () => "",
    handlerOf: EFFECTS.handlerOf,
  });
  const before = await faults.before(new URL(server.url).origin);
  const { settings, env } = await placeToken(options);
  return new ServerCache({
    kind: "http",
    options,
    faults,
    server,
    settings: {
      url: `${before}${new URL(server.url).pathname}`,
      ...settings,
      ...keySettings(options),
    },
    env,
    setToken: (taken) => void (token = taken),
    contents: () => {
      const { published, isVisible, flaws } = readLayout(server.files, options.key);
      return { published, isVisible, flaws, open: [], pins: [], violations };
    },
    evict: (hashPart) => void server.files.delete(`${hashPart}.narinfo`),
  });
}

/** What a request is for: a verb and the kind of the file. */
function operationOf({
  method,
  target,
}: {
  readonly method: string;
  readonly target: string;
}): string {
  const file = /^\/nix\/(?:(nix-cache-)|\w{32}\.|(nar)\/[\w.-]+$)(info|narinfo)?$/.exec(target);
  const what = file === null ? undefined : (file[2] ?? file[3]);
  const operation = `${method.toLowerCase()}-${what}`;
  return CUES.some(({ cue }) => cue === operation) ? operation : "unknown";
}
