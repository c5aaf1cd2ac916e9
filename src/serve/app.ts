import { Hono, type Context, type MiddlewareHandler } from "hono";
import { HTTPException } from "hono/http-exception";

import { systemCode } from "../files/system-code.ts";
import { FormatError } from "../nix/format-error.ts";
import { judgeAccess } from "./access.ts";
import { queryRoutes, settingRoutes } from "./api-routes.ts";
import type { AppOptions } from "./app-options.ts";
import { hostCheck } from "./host-check.ts";
import { readRoutes } from "./read-routes.ts";
import { refusal } from "./refusal.ts";
import type { Storage } from "./storage.ts";
import { partRoute, uploadRoutes } from "./upload-routes.ts";

const LONGEST_LOGGED_PATH = 200;

/**
 * The cache as a request handler: the read side at `/`, as nix.conf wants it, and the API together
 * with the read side at `/api/v1/cache/NAME`. Everything that is not 200 has a short sentence as
 * body.
 */
export function createApp(storage: Storage, options: AppOptions): Hono {
  const app = new Hono();
  app.use(logRequests(options));
  app.onError((error, c) => answerError(error, c, options));
  app.use(hostCheck(options.servedAs));
  app.notFound((c) => c.text("There is nothing here", 404));
  // Parts come with no other credentials than their URL, so this route stands before the guards.
  app.route("/", partRoute(storage, options));
  app.use(guard(storage.token, options.isPrivate ? "owner" : "anonymous"));
  app.route("/", readRoutes(storage));
  app.route(`/api/v1/cache/${options.name}`, cacheRoutes(storage, options));
  // The real service does not tell either whether a cache does not exist or is somebody else's.
  app.all("/api/v1/cache/*", () => {
    throw refusal(401, "The cache does not exist or you have no access to it");
  });
  return app;
}

function cacheRoutes(storage: Storage, options: AppOptions): Hono {
  const ownerOnly = guard(storage.token, "owner");
  const routes = new Hono();
  routes.route("/", readRoutes(storage));
  routes.route("/", queryRoutes(storage, options));
  routes.use("/multipart-nar/*", ownerOnly);
  routes.route("/multipart-nar", uploadRoutes(storage, options));
  routes.use("/key", ownerOnly);
  routes.use("/pin", ownerOnly);
  routes.route("/", settingRoutes(storage, options));
  routes.all("*", () => {
    throw refusal(404, "The API has no such call");
  });
  return routes;
}

function guard(token: string, needed: "anonymous" | "owner"): MiddlewareHandler {
  return async (c, next) => {
    const access = judgeAccess(c.req.header("authorization"), token);
    if (access === "wrong" || (access === "anonymous" && needed === "owner")) {
      c.header("WWW-Authenticate", 'Basic realm="cache"');
      return c.text(
        access === "wrong" ? "The token is not valid here" : "This needs the token of the cache",
        401,
      );
    }
    return next();
  };
}

function logRequests({ log, now }: AppOptions): MiddlewareHandler {
  return async (c, next) => {
    const start = now();
    await next();
    // Still percent-encoded, so no control character gets into the log, and without the query,
    // which is where part URLs have their signature.
    const path = new URL(c.req.url).pathname.slice(0, LONGEST_LOGGED_PATH);
    log(`${c.req.method} ${path} ${c.res.status} ${now() - start} ms`);
  };
}

function answerError(error: Error, c: Context, { log, signal }: AppOptions): Response {
  if (error instanceof HTTPException) return c.text(error.message, error.status);
  if (error instanceof FormatError) return c.text(error.message, 400);
  if (signal.aborted) return c.text("The server is stopping", 503);
  if (error.cause instanceof Error && error.cause.name === "TimeoutError") {
    // Whatever arrives later is no request, and nobody else has the connection until it is closed.
    return c.text("The body did not arrive in time", 408, { Connection: "close" });
  }
  if (c.req.raw.signal.aborted) return c.text("The client went away", 400);
  log(`Cannot answer: ${error.message}`);
  if (isDiskFull(error)) return c.text("The disk of the cache is full", 507);
  return c.text("The server failed", 500);
}

const SQLITE_FULL = 13;

function isDiskFull(error: Error): boolean {
  if ("errcode" in error) return error.errcode === SQLITE_FULL;
  const code = systemCode(error);
  return code === "ENOSPC" || code === "EDQUOT";
}
