import { setTimeout as delay } from "node:timers/promises";

import type { Operation } from "../fakes/cachix-service.ts";
import { passOn } from "./fault-proxy.ts";
import type { Answer, Handler } from "./fault-proxy.ts";

/** Something that can happen to a request. */
export interface Fault {
  readonly name: string;
  readonly play: Handler;
}

export const PAGE: string = `<!DOCTYPE html><html><title>502</title><body>${"Bad gateway. ".repeat(300)}</body>`;

/** Answers without asking the server. */
export function answering(
  status: number,
  headers: Readonly<Record<string, string>> = {},
  body: string = "",
): Handler {
  return async (exchange) => {
    await exchange.body();
    exchange.send({ status, headers, body: Buffer.from(body) });
  };
}

/** Lets the server do it and answers something else. */
export function answeringAfter(change: (answer: Answer) => Answer): Handler {
  return async (exchange) => exchange.send(change(await exchange.pass()));
}

/** Lets the server do it and cuts the connection. */
export const lose: Handler = async (exchange) => {
  await exchange.pass();
  exchange.cut();
};

export const html = (status: number): Handler =>
  answering(status, { "content-type": "text/html" }, PAGE);

export const htmlAfter = (status: number): Handler =>
  answeringAfter(() => ({
    status,
    headers: { "content-type": "text/html" },
    body: Buffer.from(PAGE),
  }));

export const problem: Handler = answering(
  503,
  { "content-type": "application/problem+json" },
  '{"title":"Busy","retry_after":3}',
);

export const expired: Handler = answering(
  403,
  { "content-type": "application/xml" },
  "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>",
);

export const cutBefore: Handler = async (exchange) => {
  await exchange.body();
  exchange.cut();
};

export const half: Handler = async (exchange) => {
  const answer = await exchange.pass();
  await exchange.sendHalf(answer, Math.floor(answer.body.length / 2));
};

export const untyped: Handler = answeringAfter(({ headers, ...answer }) => {
  const { "content-type": _, ...rest } = headers;
  return { ...answer, headers: rest };
});

const garbled: Handler = answeringAfter(({ status, headers }) => ({
  status,
  headers,
  body: Buffer.from('{"narId": "'),
}));

export const withoutETag: Handler = answeringAfter(({ headers, ...answer }) => {
  const { etag: _, ...rest } = headers;
  return { ...answer, headers: rest };
});

export const late: Handler = async (exchange) => {
  await delay(20);
  await passOn(exchange);
};

/** The connection is offered for more requests, and soon closed. */
export const closing: Handler = async (exchange) => {
  await passOn(exchange);
  exchange.closeLater(10);
};

/** The server works, and its answer never comes. */
export const silent: Handler = async (exchange) => void (await exchange.pass());

/** Every missing path twice, and one that nobody asked for. */
export const duplicated: Handler = answeringAfter(({ body, ...answer }) => {
  // A server that refuses us lists nothing.
  if (answer.status !== 200) return { ...answer, body };
  const missing = JSON.parse(body.toString()) as string[];
  const list = [...missing, "0".repeat(32), ...missing];
  return { ...answer, body: Buffer.from(JSON.stringify(list)) };
});

/** What passes by itself, whatever the request is for. */
const PASSING: readonly Fault[] = [
  { name: "429, Retry-After 2", play: answering(429, { "retry-after": "2" }) },
  { name: "503, a date that is past", play: answering(503, { "retry-after": past() }) },
  { name: "503, Retry-After 100000", play: answering(503, { "retry-after": "100000" }) },
  { name: "502, a page", play: html(502) },
  { name: "503, a problem document", play: problem },
  { name: "cut before", play: cutBefore },
  { name: "done, and cut", play: lose },
  { name: "done, and 524", play: htmlAfter(524) },
  { name: "done, and half an answer", play: half },
  { name: "no content type", play: untyped },
  { name: "201", play: answeringAfter((answer) => ({ ...answer, status: 201 })) },
  { name: "late", play: late },
  { name: "closed a moment later", play: closing },
];

/** What happens to some requests only. A start that is garbled ends its path. */
const OWN: Partial<Record<Operation, readonly Fault[]>> = {
  begin: [{ name: "garbled", play: garbled }],
  put: [
    { name: "cut within", play: (exchange) => exchange.cutWithin(100) },
    { name: "expired", play: expired },
  ],
  missing: [{ name: "duplicates", play: duplicated }],
  complete: [{ name: "done, and silence", play: silent }],
};

/** What ends a path, or the run. */
const LASTING: Partial<Record<Operation, readonly Fault[]>> = {
  "part-url": [
    { name: "400", play: answering(400) },
    { name: "garbled", play: garbled },
    { name: "503 for good", play: answering(503) },
  ],
  put: [
    { name: "no ETag", play: withoutETag },
    { name: "400", play: answering(400) },
    { name: "500 for good", play: answering(500) },
  ],
  complete: [
    { name: "400", play: answering(400) },
    { name: "done, and 400", play: htmlAfter(400) },
    { name: "done, and cut for good", play: lose },
    { name: "cut for good", play: cutBefore },
    { name: "503 for good", play: answering(503) },
    { name: "401", play: answering(401) },
  ],
  abort: [{ name: "500 for good", play: answering(500) }],
};

export function passingFaults(operation: Operation): readonly Fault[] {
  return [...PASSING, ...(OWN[operation] ?? [])];
}

export function lastingFaults(operation: Operation): readonly Fault[] {
  return LASTING[operation] ?? [];
}

function past(): string {
  return new Date(0).toUTCString();
}
