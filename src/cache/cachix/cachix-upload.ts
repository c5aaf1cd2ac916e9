import { HandpickError } from "../../error.ts";
import { hashPartOf, nameOf } from "../../nix/store-path.ts";
import type { PackedFile, Upload, UploadPart, UploadRequest } from "../contract.ts";
import { DelayedAbort } from "../delayed-abort.ts";
import type { HttpResponse } from "../../http/http-message.ts";
import { isRetryable } from "../../http/retry.ts";
import { isPage, isRefusal, isSuccess, statusMessage } from "../../http/status-error.ts";
import { readMissing, readPartUrl } from "./answers.ts";
import type { UploadIds } from "./answers.ts";
import type { Patience } from "../json-api.ts";
import type { Call, CachixApi } from "./cachix-api.ts";
import { missingCall } from "./missing.ts";
import { narInfoCreate } from "./narinfo-create.ts";
import { type Effect, sendUntilEffective } from "../send-until-effective.ts";
import { etagOf, isRejected, putRequest, rejectedByStorage } from "./storage.ts";

/** A part's URL lives 300 s; one about to end is not worth a try. */
const URL_USABLE_MS = 240_000;
/** On a slow line a part takes minutes, and one that is cut near its end is to go again. */
const PART_PATIENCE: Patience = { triesMs: 900_000 };

/** Connections that were kept open may turn out, one after the other, to be closed by the service. */
const ABORT_TRIES = 6;

/** Words of a service that misses a signature. */
const SIGNATURE = /\b(?:(?:un)?sign(?:ed|ing|ature)?|c?sig)\b/i;
const NO_KEY_HINT =
  "Set signing-key-file to the key of this cache; handpick keygen makes and registers one.";

export interface CachixUploadOptions {
  readonly ids: UploadIds;
  readonly request: Pick<UploadRequest, "info" | "signatures">;
  /** How long `abort` may take, and an answer to `publish` that was asked for before Ctrl-C. */
  readonly abortMs: number;
  /** True if the cache named keys that its readers trust. */
  readonly hasKeys: boolean;
}

/** A multipart upload: parts go to storage by URLs of their own, the rest to the API. */
export class CachixUpload implements Upload {
  readonly #api: CachixApi;
  readonly #options: CachixUploadOptions;
  readonly #etags = new Map<number, string>();
  /** True once `complete` was sent, until an answer shows that it had no effect. */
  #mayBePublished = false;
  #abortion: Promise<void> | undefined;

  constructor(api: CachixApi, options: CachixUploadOptions) {
    this.#api = api;
    this.#options = options;
  }

  async putPart(part: UploadPart, signal: AbortSignal): Promise<void> {
    let answer = await this.#sendPart(part, signal);
    // Most likely the URL had expired on a slow line: the part gets one more, never the path.
    if (answer.isRejected) answer = await this.#sendPart(part, signal);
    if (answer.isRejected) throw rejectedByStorage(answer.response);
    if (!isSuccess(answer.response)) throw this.#api.error(answer.response, "UPLOAD_REJECTED");
    this.#etags.set(part.number, etagOf(answer.response));
  }

  async publish(file: PackedFile, signal: AbortSignal): Promise<void> {
    const { request } = this.#options;
    const parts = [...this.#etags]
      .toSorted(([a], [b]) => a - b)
      .map(([partNumber, eTag]) => ({ partNumber, eTag }));
    const complete = this.#call("complete the upload", {
      path: ["complete"],
      body: { parts, narInfoCreate: narInfoCreate(request, file) },
    });
    const hashPart = hashPartOf(request.info.path);
    using late = new DelayedAbort(signal, this.#options.abortMs);
    let sends = 0;
    const effect: Effect = {
      send: async () => {
        signal.throwIfAborted();
        this.#mayBePublished = true;
        sends += 1;
        const answer = await this.#api.callOnce(complete, late.signal);
        // A refusal to do it twice is no sign that the first had no effect: the question afterwards tells.
        const isSettled = sends === 1 && !isSuccess(answer) && !isRetryable(answer.status);
        this.#mayBePublished = !isSettled;
        return answer;
      },
      check: () => this.#api.callOnce(missingCall(this.#api, [hashPart]), signal),
      isDone: (found) => {
        this.#mayBePublished = !readMissing(found).includes(hashPart);
        return this.#mayBePublished;
      },
    };
    const response = await sendUntilEffective(this.#api, effect, signal);
    if (!isSuccess(response)) throw this.#rejected(response);
  }

  async abort(): Promise<void> {
    if (this.#mayBePublished) return;
    this.#abortion ??= this.#abort();
    await this.#abortion;
  }

  async #abort(): Promise<void> {
    const signal = AbortSignal.timeout(this.#options.abortMs);
    const call = this.#call("give up the upload", { path: ["abort"] });
    for (let tries = 0; tries < ABORT_TRIES && !signal.aborted; tries++) {
      try {
        await this.#api.callOnce(call, signal);
        return;
      } catch {
        // The service forgets unfinished uploads by itself; there is nothing to gain from a report.
      }
    }
  }

  /**
   * The service tells neither beforehand whether it signs itself, nor in a way of its own that it
   * does not.
   */
  #rejected(response: HttpResponse): HandpickError {
    const error = this.#api.error(response, "UPLOAD_REJECTED");
    if (this.#options.request.signatures.length > 0 || isPage(response)) return error;
    if (![400, 401, 403, 422].includes(response.status)) return error;
    const text = response.body.toString();
    const isOfToken = isRefusal(response);
    const isNamed = SIGNATURE.test(text) && !(isOfToken && /token|jwt/i.test(text));
    const isMissing = isNamed || (!this.#options.hasKeys && !isOfToken);
    if (!isMissing && isOfToken) return error;
    const code = isMissing ? "SIGNING_KEY_MISSING" : error.code;
    const hint = isMissing ? NO_KEY_HINT : `If it has no key of its own: ${NO_KEY_HINT}`;
    return new HandpickError(code, statusMessage(response), { hint });
  }

  /** Gets a URL and puts the part there; repeats either for passing reasons. */
  async #sendPart(
    part: UploadPart,
    signal: AbortSignal,
  ): Promise<{ response: HttpResponse; isRejected: boolean }> {
    const api = this.#api;
    const ask = this.#call(`upload part ${part.number}`, {
      path: [],
      query: { partNumber: `${part.number}` },
      body: { contentMD5: part.md5 },
    });
    let target: { readonly url: URL; readonly issuedMs: number } | undefined;
    const attempt = async (): Promise<HttpResponse> => {
      if (target === undefined || api.clock.now() - target.issuedMs > URL_USABLE_MS) {
        target = undefined;
        const issuedMs = api.clock.now();
        const answer = await api.callOnce(ask, signal);
        if (!isSuccess(answer)) return answer;
        target = { url: readPartUrl(answer, api.base), issuedMs };
      }
      return api.client.request(putRequest(part, { action: ask.action, url: target.url, signal }));
    };
    const response = await api.retry(attempt, signal, PART_PATIENCE);
    return { response, isRejected: target !== undefined && isRejected(response) };
  }

  #call(action: string, { path, query, body }: Pick<Call, "path" | "query" | "body">): Call {
    const { ids, request } = this.#options;
    return {
      action: `${action} of ${JSON.stringify(nameOf(request.info.path))} to ${this.#api.label}`,
      method: "POST",
      path: ["multipart-nar", ids.narId, ...path],
      query: { uploadId: ids.uploadId, ...query },
      body,
    };
  }
}
