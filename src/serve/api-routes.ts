import { Hono } from "hono";
import * as v from "valibot";

import { parseHashPart, type HashPart } from "../nix/store-path.ts";
import { judgeAccess } from "./access.ts";
import type { AppOptions } from "./app-options.ts";
import type { ServeEnv } from "./exchanges.ts";
import { pinRequestSchema } from "./pins.ts";
import { refusal } from "./refusal.ts";
import { readJson } from "./request-body.ts";
import type { Storage } from "./storage.ts";

const hashesSchema = v.array(
  v.pipe(
    v.string(),
    v.transform((text): HashPart => parseHashPart(text)),
  ),
);
const keySchema = v.object({ publicKey: v.string() });

/** Routes of the API that write nothing: cache information, missing paths, pins. */
export function queryRoutes(storage: Storage, options: AppOptions): Hono<ServeEnv> {
  const routes = new Hono<ServeEnv>();
  routes.get("/", (c) => {
    // By default handpick publishes in reference order, which costs a round trip for each step.
    c.header("Handpick-Hides-Incomplete-Closures", "1");
    const access = judgeAccess(c.req.header("authorization"), storage.token);
    return c.json({
      name: options.name,
      uri: options.baseUrl(c.req.header("host")),
      isPublic: !options.isPrivate,
      publicSigningKeys: storage.keys.publicKeys,
      githubUsername: "",
      permission: access === "owner" ? "Write" : "Read",
      preferredCompressionMethod: "ZSTD",
    });
  });
  routes.post("/narinfo", async (c) => {
    const hashes = await readJson(c.env.incoming, hashesSchema, options);
    return c.json(await storage.catalog.missing(hashes, c.req.raw.signal));
  });
  routes.get("/pin", (c) => c.json(storage.pins.list()));
  return routes;
}

/** Registering keys and pinning paths. */
export function settingRoutes(storage: Storage, options: AppOptions): Hono<ServeEnv> {
  const routes = new Hono<ServeEnv>();
  routes.post("/key", async (c) => {
    const { publicKey } = await readJson(c.env.incoming, keySchema, options);
    storage.keys.register(publicKey);
    return c.body(null);
  });
  routes.post("/pin", async (c) => {
    const pin = await readJson(c.env.incoming, pinRequestSchema, options);
    if (!storage.catalog.hasPath(pin.storePath)) {
      throw refusal(404, "The store path is not in this cache");
    }
    storage.pins.add(pin, options.now());
    return c.body(null);
  });
  return routes;
}
