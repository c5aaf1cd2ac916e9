import { once } from "node:events";
import { Agent, createServer, request } from "node:http";
import type { ClientRequest, IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

import { type Moment, type Step, stepOf } from "./moment.ts";

interface Trap {
  readonly moment: Moment;
  readonly seenBefore: number;
  readonly spring: () => void;
}

/**
 * Stands between a push and a cache, counts requests by their step, and tells when a moment has
 * come. It passes the `Host` header on, so that part URLs lead through it as well.
 */
export class CrashProxy implements AsyncDisposable {
  readonly counts: Map<Step, number> = new Map<Step, number>();
  /** Requests wait for it before anything of them is passed on. */
  before: ((step: Step) => Promise<void>) | undefined;
  /** URL of the cache; requests wait while it is not there. */
  target: Promise<string>;
  readonly #server = createServer((incoming, outgoing) => {
    this.#pass(incoming, outgoing).catch(() => outgoing.destroy());
  });
  readonly #agent = new Agent({ keepAlive: true });
  #trap: Trap | undefined;

  private constructor(target: string) {
    this.target = Promise.resolve(target);
  }

  static async start(target: string): Promise<CrashProxy> {
    const proxy = new CrashProxy(target);
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /**
   * Calls `kill` when the moment comes, counted from now, and lets nothing of that request go
   * further. Settles after that.
   */
  async trap(moment: Moment, kill: () => void): Promise<void> {
    const sprung = Promise.withResolvers<void>();
    const spring = (): void => {
      this.#trap = undefined;
      kill();
      sprung.resolve();
    };
    this.#trap = { moment, seenBefore: this.#count(moment.step), spring };
    await sprung.promise;
  }

  /** Takes the trap away that was not sprung; tells whether there was one. */
  disarm(): boolean {
    const isArmed = this.#trap !== undefined;
    this.#trap = undefined;
    return isArmed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
    this.#agent.destroy();
  }

  /** How many requests there were, of all steps. */
  get requests(): number {
    return [...this.counts.values()].reduce((sum, count) => sum + count, 0);
  }

  #count(step: Step | "any"): number {
    return step === "any" ? this.requests : (this.counts.get(step) ?? 0);
  }

  /** The trap that this request is to spring, if any. */
  #meet(step: Step): Trap | undefined {
    this.counts.set(step, this.#count(step) + 1);
    const trap = this.#trap;
    if (trap === undefined || (trap.moment.step !== step && trap.moment.step !== "any"))
      return undefined;
    const isIt = this.#count(trap.moment.step) === trap.seenBefore + trap.moment.nth;
    return isIt ? trap : undefined;
  }

  async #pass(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const { method = "GET", url = "/", headers } = incoming;
    const bodyBytes = Number(headers["content-length"] ?? 0);
    const step = stepOf(method, url, bodyBytes);
    const trap = this.#meet(step);
    await this.before?.(step);
    if (trap?.moment.phase === "asked") return this.#spring(trap, outgoing);
    const passed = request(`${await this.target}${url}`, { method, headers, agent: this.#agent });
    passed.on("error", () => outgoing.destroy());
    outgoing.on("close", () => {
      if (!outgoing.writableFinished) passed.destroy();
    });
    const answered = once(passed, "response") as Promise<[IncomingMessage]>;
    answered.catch(() => undefined); // a trap may end it before anybody waits
    const limit = trap?.moment.phase === "half" ? Math.floor(bodyBytes / 2) : Infinity;
    await sendBody(incoming, passed, limit);
    if (trap?.moment.phase === "half") return this.#spring(trap, outgoing, passed);
    passed.end();
    if (trap?.moment.phase === "working") {
      await sleep(trap.moment.workMs);
      return this.#spring(trap, outgoing, passed);
    }
    const [answer] = await answered;
    if (trap?.moment.phase === "answered") return this.#spring(trap, outgoing, passed);
    outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
    for await (const chunk of answer) outgoing.write(chunk);
    await new Promise<void>((resolve) => outgoing.end(resolve));
    trap?.spring();
  }

  #spring(trap: Trap, outgoing: ServerResponse, passed?: ClientRequest): void {
    trap.spring();
    outgoing.destroy();
    passed?.destroy();
  }
}

/** Sends `limit` bytes on and waits until they are with the kernel. */
async function sendBody(
  incoming: IncomingMessage,
  passed: ClientRequest,
  limit: number,
): Promise<void> {
  let left = limit;
  passed.flushHeaders();
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    const piece = chunk.subarray(0, left);
    left -= piece.length;
    await new Promise<void>((resolve, reject) => {
      passed.write(piece, (error) => (error ? reject(error) : resolve()));
    });
    if (left === 0) return;
  }
}
