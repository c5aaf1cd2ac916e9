import { systemClock } from "../../clock.ts";
import { createHttpClient } from "../../http/http-client.ts";
import type { HttpResponse } from "../../http/http-message.ts";
import { isPage, isRefusal } from "../../http/status-error.ts";
import { type HashPart, hashPartOf, nameOf } from "../../nix/store-path.ts";
import type { Cache, CacheInfo, CacheTraits, Upload, UploadRequest } from "../contract.ts";
import { ANY_PARTS } from "../contract.ts";
import type { JsonCall } from "../json-api.ts";
import type { OpenCacheOptions } from "../kind.ts";
import { parseServerUrl } from "../server-url.ts";
import { readConfig, readMissing } from "./answers.ts";
import { AtticApi, MISSING_BATCH } from "./attic-api.ts";
import { AtticUpload } from "./attic-upload.ts";
import { FOREIGN_HINT, serverUrl } from "./attic-url.ts";
import { KeptNar } from "./kept-nar.ts";
import { describePath } from "./path-description.ts";
import { StreamedNar } from "./streamed-nar.ts";

const TRAITS: CacheTraits = {
  compressions: new Set(["none"]),
  closureRule: "client",
  signer: "cache",
  parts: { ...ANY_PARTS, inOrder: true },
};

/** A larger NAR is streamed: it would take the room of many. */
const LARGEST_KEPT_BYTES = 1 << 20;
const KEPT_BYTES = 16 << 20;

export interface AtticCacheOptions extends Omit<OpenCacheOptions, "url" | "storeDir" | "keys"> {
  /** As in the URL of the cache. */
  readonly server: string;
  /** Its name at the server. */
  readonly cacheName: string;
  /** How much of small NARs may be in memory to be sent again after a failure. @default {16_777_216} */
  readonly keptBytes?: number | undefined;
}

/**
 * Opens a cache of an Attic server. Nothing is sent yet.
 *
 * @throws {HandpickError} `CACHE_URL_UNSUPPORTED` if `host` is no URL of the web.
 */
export function createAtticCache(options: AtticCacheOptions): Cache {
  return new AtticCache(options);
}

class AtticCache implements Cache {
  readonly name: string;
  readonly traits = TRAITS;
  readonly #api: AtticApi;
  readonly #abortMs: number;
  #freeBytes: number;
  /** True if the server has answered for this cache. */
  #isKnown = false;
  /** True if the server has answered what only who may push is told. */
  #mayPush = false;

  constructor(options: AtticCacheOptions) {
    const { name, server, cacheName, host = serverUrl(server), env, timeouts } = options;
    const { token, random, onRetry, firstContactMs, clock = systemClock } = options;
    this.name = name;
    this.#abortMs = options.abortMs ?? 3000;
    this.#freeBytes = options.keptBytes ?? KEPT_BYTES;
    const base = parseServerUrl(host, "https://cache.example.org");
    const client = createHttpClient({ env, timeouts, foreignHint: FOREIGN_HINT });
    const speaking = { token, client, clock, random, onRetry, firstContactMs };
    this.#api = new AtticApi({ name, cacheName, base, ...speaking });
  }

  /** The answer about the cache proves nothing about the token, which is asked about besides. */
  async info(signal: AbortSignal): Promise<CacheInfo> {
    const config = readConfig(await this.#ask(this.#api.configCall(), signal), this.#api.readUrl);
    return { ...config, writable: this.#mayPush || (await this.#tryPush(signal)) };
  }

  async missing(hashParts: Iterable<HashPart>, signal: AbortSignal): Promise<Set<HashPart>> {
    const asked = [...new Set(hashParts)];
    const missing = new Set<HashPart>();
    for (let start = 0; start < asked.length; start += MISSING_BATCH) {
      const batch = asked.slice(start, start + MISSING_BATCH);
      const response = await this.#ask(this.#api.missingCall(batch), signal);
      const answer = new Set(readMissing(response));
      this.#mayPush = true;
      for (const hashPart of batch) if (answer.has(hashPart)) missing.add(hashPart);
    }
    return missing;
  }

  async beginUpload(request: UploadRequest, signal: AbortSignal): Promise<Upload> {
    signal.throwIfAborted();
    const { path, narSize } = request.info;
    const api = this.#api;
    const hashPart = hashPartOf(path);
    const action = `upload ${JSON.stringify(nameOf(path))} to ${api.json.label}`;
    const description = new TextEncoder().encode(
      JSON.stringify(describePath(request, api.cacheName)),
    );
    const options = {
      api,
      action,
      description,
      narSize,
      abortMs: this.#abortMs,
      check: (signal: AbortSignal) => api.json.callOnce(api.missingCall([hashPart]), signal),
      isDone: (found: HttpResponse) => !readMissing(found).includes(hashPart),
    };
    const sizeBytes = description.byteLength + narSize;
    const isKept = sizeBytes <= Math.min(LARGEST_KEPT_BYTES, this.#freeBytes);
    const keptBytes = isKept ? sizeBytes : 0;
    this.#freeBytes -= keptBytes;
    const body = isKept ? new KeptNar(options) : new StreamedNar(options);
    const onEnd = (): void => void (this.#freeBytes += keptBytes);
    return new AtticUpload({ api, action, narSize, body, onEnd });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#api.json.client.close();
  }

  /** Calls what may be the first call. */
  async #ask(call: JsonCall, signal: AbortSignal): Promise<HttpResponse> {
    const { json } = this.#api;
    const response = await (this.#isKnown
      ? json.call(call, signal)
      : json.firstContact(call, signal));
    this.#api.assertSuccess(response);
    this.#isKnown = true;
    return response;
  }

  async #tryPush(signal: AbortSignal): Promise<boolean> {
    const response = await this.#api.json.call(this.#api.missingCall([]), signal);
    if (isRefusal(response) && !isPage(response)) return false;
    this.#api.assertSuccess(response);
    readMissing(response);
    return true;
  }
}
