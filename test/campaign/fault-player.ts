import { setTimeout as delay } from "node:timers/promises";

import type { Operation } from "../fakes/cachix-service.ts";
import { passOn, startFaultProxy } from "../faults/fault-proxy.ts";
import type { Exchange, FaultProxy } from "../faults/fault-proxy.ts";
import { CLOCK_STEPS, handlerOf } from "./effects.ts";
import type { Effect } from "./effects.ts";
import type { FaultStep, ServerName } from "./schedule.ts";

/** A request that a server was sent, with what became of it. */
export interface LoggedRequest {
  readonly operation: Operation;
  /** Path and query. */
  readonly target: string;
  /** The upload that it is about, or the empty text. */
  readonly narId: string;
  readonly headers: string;
  /** Undefined where the connection was cut before the body was read. */
  readonly body: Buffer | undefined;
  /** The fault that it met, if any. */
  readonly fault: FaultStep | undefined;
  /** The status of the answer if the client was sent all of it. */
  readonly status: () => number | undefined;
  /** Place in the order in which requests came. */
  readonly at: number;
}

/** Strikes the program rather than a request. */
export interface Striking {
  signal(signal: NodeJS.Signals): void;
  stepClock(ms: number): void;
  revokeToken(): void;
}

/** Absence of a server that is gone: some tries of the program, whose waits are short. */
const GONE_MS = 250;

/** Plays the faults of a run at the servers of one cache, each behind a proxy of its own. */
export class FaultPlayer implements AsyncDisposable {
  readonly log: LoggedRequest[] = [];
  readonly #name: ServerName;
  readonly #proxies: FaultProxy[] = [];
  /** Settles when a server that is gone is back. */
  #gone: Promise<void> | undefined;
  #faults: readonly FaultStep[] = [];
  #striking: Striking | undefined;
  #counts = new Map<string, number>();

  constructor(name: ServerName) {
    this.#name = name;
  }

  /** Starts a proxy before a server; returns its URL. */
  async before(target: string): Promise<string> {
    const handle = (exchange: Exchange): Promise<void> => this.#handle(exchange);
    const proxy = await startFaultProxy({ target, handle });
    this.#proxies.push(proxy);
    return proxy.url;
  }

  /** Begins a run: its faults are counted from here on. */
  begin(faults: readonly FaultStep[], striking: Striking): void {
    this.#faults = faults.filter(({ cache }) => cache === this.#name);
    this.#counts = new Map();
    this.#striking = striking;
  }

  /** Ends all faults, once a server that is gone is back. */
  async end(): Promise<void> {
    this.#faults = [];
    await this.#gone;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
    // All of them, also where one tells of a mistake.
    await using stack = new AsyncDisposableStack();
    for (const proxy of this.#proxies) stack.use(proxy);
  }

  #count(operation: string): number {
    const count = (this.#counts.get(operation) ?? 0) + 1;
    this.#counts.set(operation, count);
    return count;
  }

  /** The first fault of the schedule that this request meets. */
  #meet(operation: Operation): FaultStep | undefined {
    const counts = { own: this.#count(operation), any: this.#count("any") };
    return this.#faults.find(({ operation: hit, nth, times }) => {
      if (hit !== "any" && hit !== operation) return false;
      const count = hit === "any" ? counts.any : counts.own;
      return count >= nth && (times === 0 || count < nth + times);
    });
  }

  async #handle(exchange: Exchange): Promise<void> {
    const { operation, target, headers } = exchange.request;
    const fault = this.#meet(operation);
    const effect = fault?.effect;
    // To be cut within, a body has to be on its way.
    const body = effect === "cut within" ? undefined : await exchange.body();
    this.log.push({
      operation,
      target,
      narId: /\/(?:multipart-nar|bucket)\/([^/?]+)/.exec(target)?.[1] ?? "",
      headers: JSON.stringify(headers),
      body,
      fault,
      status: () => exchange.sentStatus,
      at: this.log.length,
    });
    if (effect === undefined) return passOn(exchange);
    const handler = handlerOf(operation, effect);
    if (handler !== undefined) return handler(exchange);
    const answer = effect.endsWith(", done") ? await exchange.pass() : undefined;
    await this.strike(effect);
    if (effect.startsWith("SIGKILL")) exchange.cut();
    else if (effect !== "server gone") exchange.send(answer ?? (await exchange.pass()));
  }

  async #goAway(): Promise<void> {
    await Promise.all(this.#proxies.map((proxy) => proxy.pause(GONE_MS)));
    this.#gone = undefined;
  }

  /** Strikes the program, its clock, the token or the server. */
  async strike(stroke: Effect): Promise<void> {
    const striking = this.#striking;
    const [signal] = /^SIG\w+/.exec(stroke) ?? [];
    if (signal !== undefined) {
      striking?.signal(signal as NodeJS.Signals);
      if (!stroke.endsWith("twice")) return;
      await delay(20);
      striking?.signal(signal as NodeJS.Signals);
    } else if (CLOCK_STEPS.has(stroke)) striking?.stepClock(CLOCK_STEPS.get(stroke) ?? 0);
    else if (stroke === "token revoked") striking?.revokeToken();
    else if (stroke === "server gone") {
      this.#gone ??= this.#goAway();
    } else throw new RangeError(`Cannot strike with ${JSON.stringify(stroke)}`);
  }
}
