import type { MiddlewareHandler } from "hono";

import { isLoopback } from "../loopback.ts";
import { refusal } from "./refusal.ts";

const HOST = /^(\[[0-9A-Fa-f:.]+\]|[^:[\]]*)(?::\d{1,5})?$/;

/** Where a server listens, and the name under which others reach it. */
export interface ServedAs {
  readonly listenHost: string;
  readonly publicUrl: string | undefined;
}

/**
 * Refuses requests to a server of this machine alone under the name of another: a page of the web can
 * have its own name resolve to 127.0.0.1, and its scripts would then read the cache as their own.
 */
export function hostCheck({ listenHost, publicUrl }: ServedAs): MiddlewareHandler {
  const publicHost = publicUrl === undefined ? undefined : new URL(publicUrl).hostname;
  const isOpen = !isLoopback(listenHost);
  return async (c, next) => {
    const header = c.req.header("host");
    const name = HOST.exec(header ?? "")?.[1]?.toLowerCase() ?? "";
    // Programs without a Host header are no browsers.
    const isOurs = header === undefined || isLoopback(name) || name === publicHost;
    if (!isOpen && !isOurs) {
      throw refusal(421, "This cache is not served under that name; see handpick serve --help");
    }
    return next();
  };
}
