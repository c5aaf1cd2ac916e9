import type { FaultProxyOptions, FaultProxy, Exchange, Handler } from "../faults/fault-proxy.ts";
import { passOn, startFaultProxy } from "../faults/fault-proxy.ts";
import { FaultPlayer, GONE_MS } from "./fault-player.ts";
import type { Effect, ServerName } from "./fault-step.ts";

/** The meaning of the requests of a server. */
export interface Speech {
  operationOf(request: { readonly method: string; readonly target: string }): string;
  /** The upload that a request is about, or the empty text. */
  uploadOf(request: {
    readonly operation: string;
    readonly target: string;
    readonly body: Buffer;
  }): string;
  readonly handlerOf: (operation: string, effect: Effect) => Handler | undefined;
}

/** Plays the faults of a run at the servers of one cache, each behind a proxy of its own. */
export class ServerFaults implements AsyncDisposable {
  readonly player: FaultPlayer;
  readonly #speech: Speech;
  readonly #proxies: FaultProxy[] = [];

  constructor(name: ServerName, speech: Speech) {
    this.player = new FaultPlayer(name);
    this.#speech = speech;
  }

  /** Starts a proxy before a server; returns its URL. */
  async before(
    target: string,
    options: Pick<FaultProxyOptions, "keepsHost"> = {},
  ): Promise<string> {
    const handle = (exchange: Exchange): Promise<void> => this.#handle(exchange);
    const proxy = await startFaultProxy({ ...options, target, handle });
    this.#proxies.push(proxy);
    return proxy.url;
  }

  /** Refuses all connections for a moment. */
  async goAway(): Promise<void> {
    await Promise.all(this.#proxies.map((proxy) => proxy.pause(GONE_MS)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.player.end();
    // All of them, also where one tells of a mistake.
    await using stack = new AsyncDisposableStack();
    for (const proxy of this.#proxies) stack.use(proxy);
  }

  async #handle(exchange: Exchange): Promise<void> {
    const { target, headers } = exchange.request;
    const operation = this.#speech.operationOf(exchange.request);
    const fault = this.player.meet(operation);
    const effect = fault?.effect;
    // To be cut within, a body has to be on its way.
    const body = effect === "cut within" ? undefined : await exchange.body();
    this.player.note({
      operation,
      target,
      upload: this.#speech.uploadOf({ operation, target, body: body ?? Buffer.alloc(0) }),
      headers: JSON.stringify(headers),
      body,
      fault,
      status: () => exchange.sentStatus,
    });
    if (effect === undefined) return passOn(exchange);
    const handler = this.#speech.handlerOf(operation, effect);
    if (handler !== undefined) return handler(exchange);
    const answer = effect.endsWith(", done") ? await exchange.pass() : undefined;
    await this.player.strike(effect);
    if (effect.startsWith("SIGKILL")) exchange.cut();
    else if (effect !== "cache gone") exchange.send(answer ?? (await exchange.pass()));
  }
}
