import { createHash } from "node:crypto";

import type { Operation } from "../fakes/cachix-service.ts";
import { passOn } from "./fault-proxy.ts";
import type { Exchange, Handler } from "./fault-proxy.ts";
import { lastingFaults, passingFaults } from "./faults.ts";
import type { Fault } from "./faults.ts";

/** The faults of one run, drawn from a seed. */
export interface Schedule {
  readonly handle: Handler;
  /** What was played, one line each. */
  readonly played: readonly string[];
}

/** How many requests of a run are disturbed, and how many things never work in it. */
const RATES: readonly (readonly [passing: number, lasting: number])[] = [
  [0.05, 0.01],
  [0.2, 0],
  [0.2, 0.02],
  [0.45, 0.01],
];

/**
 * Draws what happens to a request from the seed, what the request is about and how often that was
 * asked for. The order in which requests arrive has no part in it, except for the starts of uploads,
 * which do not tell what they are for: so a seed plays nearly the same again.
 */
export function faultSchedule(seed: number): Schedule {
  const [passing, lasting] = RATES[seed % RATES.length] ?? [0, 0];
  const counts = new Map<string, number>();
  const subjects = new Subjects();
  const played: string[] = [];
  const draw = (operation: Operation, subject: string): Fault | undefined => {
    const identity = `${operation} ${subject}`;
    const count = counts.get(identity) ?? 0;
    counts.set(identity, count + 1);
    const forGood = uniforms(`${seed} ${identity}`);
    if (forGood() < lasting) return oneOf(lastingFaults(operation), forGood());
    const once = uniforms(`${seed} ${identity} ${count}`);
    return once() < passing ? oneOf(passingFaults(operation), once()) : undefined;
  };
  return {
    played,
    async handle(exchange) {
      const { operation } = exchange.request;
      const subject = await subjects.of(exchange);
      const fault = draw(operation, subject);
      if (fault !== undefined) played.push(`${operation} ${subject}: ${fault.name}`);
      await (fault?.play ?? passOn)(exchange);
    },
  };
}

/** What requests are about, in words that are the same in every run. */
class Subjects {
  readonly #parts = new Map<string, string>();

  async of(exchange: Exchange): Promise<string> {
    const { operation, target, headers } = exchange.request;
    const [, narId = ""] = /\/multipart-nar\/([^/?]+)/.exec(target) ?? [];
    // The body of a part is left alone: some faults happen in the middle of it.
    if (operation === "put") return String(headers["content-md5"]);
    if (operation === "abort") return this.#parts.get(narId) ?? "";
    if (operation === "complete") {
      return (await json<CompleteBody>(exchange)).narInfoCreate.cStoreHash;
    }
    if (operation === "missing") {
      const hashes = await json<string[]>(exchange);
      return hashes.length === 1 ? String(hashes[0]) : "all";
    }
    if (operation !== "part-url") return "";
    const { contentMD5 } = await json<{ contentMD5: string }>(exchange);
    this.#parts.set(narId, contentMD5);
    return contentMD5;
  }
}

/** What matters here of the body of `complete`. */
export interface CompleteBody {
  readonly narInfoCreate: { readonly cStoreHash: string };
}

async function json<T>(exchange: Exchange): Promise<T> {
  return JSON.parse((await exchange.body()).toString()) as T;
}

/** Numbers from 0 to 1, always the same for a text. */
function uniforms(text: string): () => number {
  const digest = createHash("sha256").update(text).digest();
  let at = 0;
  return () => digest.readUInt32LE(4 * (at++ % 8)) / 2 ** 32;
}

function oneOf(faults: readonly Fault[], uniform: number): Fault | undefined {
  return faults[Math.floor(uniform * faults.length)];
}
