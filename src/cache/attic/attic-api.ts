import { HandpickError } from "../../error.ts";
import type { HttpRequest, HttpResponse, StreamBody } from "../../http/http-message.ts";
import {
  isPage,
  isRefusal,
  isSuccess,
  statusError,
  statusMessage,
} from "../../http/status-error.ts";
import { JsonApi, type JsonApiOptions, type JsonCall } from "../json-api.ts";

/** The server takes 32 765 hashes with SQLite, and 2 MiB of text. */
export const MISSING_BATCH = 5_000;

const TOO_LARGE = 413;

export interface AtticApiOptions extends Omit<JsonApiOptions, "servers"> {
  readonly cacheName: string;
  /** The server, as the user named it: the token goes to no other, whatever an answer says. */
  readonly base: URL;
}

/** One upload: a description of the path, and its NAR after it. */
export interface UploadBody {
  readonly action: string;
  readonly descriptionBytes: number;
  /** Description and NAR. */
  readonly body: Uint8Array<ArrayBuffer> | StreamBody;
  readonly signal: AbortSignal;
}

/** Speaks with an Attic server about one cache. */
export class AtticApi {
  readonly json: JsonApi;
  readonly cacheName: string;
  /** Where readers find the cache, if the server does not say otherwise. */
  readonly readUrl: URL;
  readonly #base: string;

  constructor({ cacheName, base, ...options }: AtticApiOptions) {
    this.json = new JsonApi({ ...options, servers: "an Attic server" });
    this.cacheName = cacheName;
    this.#base = base.href.replace(/\/*$/, "/");
    this.readUrl = new URL(cacheName, this.#base);
  }

  /** The question about the cache itself. */
  configCall(): JsonCall {
    const action = `look up ${this.json.label}`;
    return { action, method: "GET", url: this.#url(`cache-config/${this.cacheName}`) };
  }

  /** The question which of at most {@link MISSING_BATCH} hash parts the cache lacks; only who may push gets an answer. */
  missingCall(hashParts: readonly string[]): JsonCall {
    return {
      action: `ask ${this.json.label} which paths it lacks`,
      method: "POST",
      url: this.#url("get-missing-paths"),
      body: { cache: this.cacheName, store_path_hashes: hashParts },
    };
  }

  uploadRequest({ descriptionBytes, ...request }: UploadBody): HttpRequest {
    return {
      ...request,
      method: "PUT",
      url: this.#url("upload-path"),
      headers: {
        accept: "application/json",
        "content-type": "application/octet-stream",
        "x-attic-nar-info-preamble-size": `${descriptionBytes}`,
        ...this.json.authorization,
      },
    };
  }

  /** @throws {HandpickError} If the answer is no success. */
  assertSuccess(response: HttpResponse): void {
    if (!isSuccess(response)) throw answerError(response);
  }

  #url(path: string): URL {
    return new URL(`_api/v1/${path}`, this.#base);
  }
}

/** The error for an answer that is no success. */
export function answerError(response: HttpResponse): HandpickError {
  const { status } = response;
  if (isRefusal(response) && !isPage(response)) {
    const hint = status === 401 ? HIDDEN_HINT : FORBIDDEN_HINT;
    return new HandpickError("CACHE_REFUSED", statusMessage(response), { hint });
  }
  if (status === 404) {
    return new HandpickError("CACHE_NOT_FOUND", statusMessage(response), { hint: ABSENT_HINT });
  }
  if (status === TOO_LARGE) {
    return new HandpickError("UPLOAD_REJECTED", statusMessage(response), { hint: TOO_LARGE_HINT });
  }
  return statusError(response, "UPLOAD_REJECTED");
}

const HIDDEN_HINT =
  "The server answers so for a cache that is absent and for one that it hides: check the name of the cache, and that the token is valid and may pull and push there.";
/** Says what to do where the token may not push. */
export const FORBIDDEN_HINT =
  "Have the operator make a token that may push to this cache (atticadm make-token --push); one that has expired counts as none.";
const ABSENT_HINT =
  "Check the name of the cache, which its operator makes first, and that the host is an Attic server.";
const TOO_LARGE_HINT =
  "Have the limit for bodies raised at the server or the proxy before it (client_max_body_size of nginx), or exclude the path.";
