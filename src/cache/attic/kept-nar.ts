import type { HttpResponse } from "../../http/http-message.ts";
import { isSuccess } from "../../http/status-error.ts";
import { DelayedAbort } from "../delayed-abort.ts";
import { assertNoPage } from "../json-api.ts";
import { sendUntilEffective } from "../send-until-effective.ts";
import { assertUploaded } from "./answers.ts";
import type { NarBody, NarBodyOptions } from "./nar-body.ts";

/** A small NAR that stays in memory until the server has it, and is so sent again after a failure. */
export class KeptNar implements NarBody {
  readonly #options: NarBodyOptions;
  #memory: Uint8Array<ArrayBuffer> | undefined;
  #filledBytes: number;

  constructor(options: NarBodyOptions) {
    this.#options = options;
    this.#filledBytes = options.description.byteLength;
  }

  async put(bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.#body.set(bytes, this.#filledBytes);
    this.#filledBytes += bytes.byteLength;
  }

  async finish(signal: AbortSignal): Promise<HttpResponse> {
    const { api, check, isDone } = this.#options;
    using late = new DelayedAbort(signal, this.#options.abortMs);
    const send = async (): Promise<HttpResponse> => {
      signal.throwIfAborted();
      return await this.#send(late.signal);
    };
    const effect = { send, check: () => check(signal), isDone };
    return await sendUntilEffective(api.json, effect, signal);
  }

  async drop(): Promise<void> {
    this.#memory = undefined;
  }

  async #send(signal: AbortSignal): Promise<HttpResponse> {
    const { api, action, description } = this.#options;
    const descriptionBytes = description.byteLength;
    const request = api.uploadRequest({ action, descriptionBytes, body: this.#body, signal });
    const answer = await api.json.client.request(request);
    assertNoPage(answer);
    if (isSuccess(answer)) assertUploaded(answer);
    return answer;
  }

  get #body(): Uint8Array<ArrayBuffer> {
    const { description, narSize } = this.#options;
    if (this.#memory === undefined) {
      this.#memory = new Uint8Array(description.byteLength + narSize);
      this.#memory.set(description);
    }
    return this.#memory;
  }
}
