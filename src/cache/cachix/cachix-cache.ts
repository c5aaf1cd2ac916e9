import { HandpickError } from "../../error.ts";
import { nameOf } from "../../nix/store-path.ts";
import type { HashPart } from "../../nix/store-path.ts";
import { systemClock } from "../../clock.ts";
import type {
  Cache,
  CacheInfo,
  CachePins,
  CacheTraits,
  Compression,
  Upload,
  UploadRequest,
} from "../contract.ts";
import { createHttpClient } from "../../http/http-client.ts";
import type { HttpResponse } from "../../http/http-message.ts";
import { isPage, isSuccess, statusMessage } from "../../http/status-error.ts";
import { FIRST_PATIENCE } from "../first-contact.ts";
import type { OpenCacheOptions } from "../kind.ts";
import {
  hidesIncompleteClosures,
  readCacheInfo,
  readMissing,
  readPins,
  readUploadIds,
} from "./answers.ts";
import { CachixApi } from "./cachix-api.ts";
import type { Call } from "./cachix-api.ts";
import { CachixUpload } from "./cachix-upload.ts";
import { DEFAULT_HOST, FOREIGN_HINT, isCachixOwn, parseHost } from "./cachix-url.ts";
import { MISSING_BATCH, missingCall } from "./missing.ts";
import { pinsCall, sendPin } from "./pin.ts";

/** The two methods of the service, in the spelling of its query. */
const METHODS: Readonly<Record<Compression, string | undefined>> = {
  zstd: "zst",
  xz: "xz",
  none: undefined,
};

const TRAITS: CacheTraits = {
  compressions: new Set(["zstd", "xz"]),
  closureRule: "client",
  signer: "either",
  // S3 stores the parts; its URL for a part is valid for five minutes.
  parts: { inOrder: false, minBytes: 5 << 20, maxParts: 10_000, md5: true, lifetimeMs: 300_000 },
};

export interface CachixCacheOptions extends Omit<OpenCacheOptions, "url" | "storeDir" | "keys"> {
  /** Its name at the service. */
  readonly cacheName: string;
}

/**
 * Opens a Cachix cache. Nothing is sent yet.
 *
 * @throws {HandpickError} `CACHE_URL_UNSUPPORTED` if `host` is no URL of the web.
 */
export function createCachixCache(options: CachixCacheOptions): Cache {
  return new CachixCache(options);
}

class CachixCache implements Cache {
  readonly name: string;
  readonly #api: CachixApi;
  readonly #hasToken: boolean;
  readonly #hasOwnHost: boolean;
  readonly #abortMs: number;
  #hidesIncomplete: boolean;
  #hasKeys = true;
  /** True if the service has answered for this cache. */
  #isKnown = false;

  constructor(options: CachixCacheOptions) {
    const { name, cacheName, token, env, timeouts, random, onRetry } = options;
    const { clock = systemClock } = options;
    this.name = name;
    this.#hasToken = token !== undefined;
    this.#abortMs = options.abortMs ?? 3000;
    const base = parseHost(options.host ?? DEFAULT_HOST);
    this.#hidesIncomplete = isCachixOwn(base);
    this.#hasOwnHost = base.href !== parseHost(DEFAULT_HOST).href;
    const client = createHttpClient({ env, timeouts, foreignHint: FOREIGN_HINT });
    const { firstContactMs } = options;
    const speaking = { token, client, clock, random, onRetry, firstContactMs };
    this.#api = new CachixApi({ name, cacheName, base, ...speaking });
  }

  /** Other servers speak this API too, and show what they have at once unless they say otherwise. */
  get traits(): CacheTraits {
    return this.#hidesIncomplete ? { ...TRAITS, closureRule: "cache" } : TRAITS;
  }

  async info(signal: AbortSignal): Promise<CacheInfo> {
    const action = `look up ${this.#api.label}`;
    const call = { action, method: "GET", path: [] } as const;
    const response = await this.#ask(call, signal);
    const info = readCacheInfo(response);
    this.#hidesIncomplete ||= hidesIncompleteClosures(response);
    this.#api.isReadOnly = !info.writable;
    this.#hasKeys = info.publicKeys?.length !== 0;
    return info;
  }

  async missing(hashParts: Iterable<HashPart>, signal: AbortSignal): Promise<Set<HashPart>> {
    // Each once: the service reports a path as missing that it was asked for twice.
    const asked = [...new Set(hashParts)];
    const missing = new Set<HashPart>();
    for (let start = 0; start < asked.length; start += MISSING_BATCH) {
      const batch = asked.slice(start, start + MISSING_BATCH);
      const response = await this.#ask(missingCall(this.#api, batch), signal);
      const answer = new Set(readMissing(response));
      for (const hashPart of batch) if (answer.has(hashPart)) missing.add(hashPart);
    }
    return missing;
  }

  async beginUpload(request: UploadRequest, signal: AbortSignal): Promise<Upload> {
    const { info, compression } = request;
    const action = `start the upload of ${JSON.stringify(nameOf(info.path))} to ${this.#api.label}`;
    const method = methodOf(compression, action);
    const response = await this.#api.call(
      { action, method: "POST", path: ["multipart-nar"], query: { compression: method } },
      signal,
    );
    const ids = readUploadIds(this.#checked(response, "UPLOAD_REJECTED"));
    const [abortMs, hasKeys] = [this.#abortMs, this.#hasKeys];
    return new CachixUpload(this.#api, { ids, request, abortMs, hasKeys });
  }

  readonly pins: CachePins = {
    set: async (request, signal) => {
      const response = await sendPin(this.#api, request, signal);
      if (response.status === 404) {
        throw new HandpickError("UPLOAD_REJECTED", statusMessage(response), {
          hint: `Push the path first: handpick push ${request.storePath}.`,
        });
      }
      this.#checked(response, "UPLOAD_REJECTED");
    },
    list: async (signal) => {
      const response = await this.#api.call(pinsCall(this.#api), signal, FIRST_PATIENCE);
      return readPins(this.#checked(response));
    },
  };

  async registerKey(publicKey: string, signal: AbortSignal): Promise<void> {
    const action = `register a public key with ${this.#api.label}`;
    const body = { publicKey: bareKey(publicKey, action) };
    const response = await this.#api.call({ action, method: "POST", path: ["key"], body }, signal);
    this.#checked(response);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#api.client.close();
  }

  /** Calls what may be the first call. */
  async #ask(call: Call, signal: AbortSignal): Promise<HttpResponse> {
    const response = this.#isKnown
      ? await this.#api.call(call, signal)
      : await this.#api.firstContact(call, signal);
    // The service answers 401 for a name that does not exist as well.
    const isHidden = response.status === 401 && !this.#isKnown && !isPage(response);
    if (response.status === 404 || isHidden) {
      throw this.#notFound(response);
    }
    this.#checked(response);
    this.#isKnown = true;
    return response;
  }

  #checked(response: HttpResponse, rejected?: "UPLOAD_REJECTED"): HttpResponse {
    if (!isSuccess(response)) throw this.#api.error(response, rejected);
    return response;
  }

  #notFound(response: HttpResponse): HandpickError {
    const advice = this.#hasToken
      ? "Check the name of the cache, and that the token is valid and belongs to it"
      : "Check the name of the cache; a private one needs a token";
    const doubt = this.#hasOwnHost
      ? "; check also that the setting host names a Cachix service"
      : "";
    return new HandpickError("CACHE_NOT_FOUND", statusMessage(response), {
      hint: `${advice}${doubt}.`,
    });
  }
}

function methodOf(compression: Compression, action: string): string {
  const method = METHODS[compression];
  if (method !== undefined) return method;
  throw new HandpickError(
    "CONFIG_INVALID",
    `Cannot ${action}: expected compression "zstd" or "xz", received ${JSON.stringify(compression)}`,
    { hint: "Remove the compression setting of this cache; zstd is the default." },
  );
}

/** The service wants the key without the name, which it gives itself. */
function bareKey(publicKey: string, action: string): string {
  const key = /^(?:[^:\s]+:)?([0-9A-Za-z+/]{43}=)$/.exec(publicKey)?.[1];
  if (key !== undefined) return key;
  throw new HandpickError(
    "KEY_INVALID",
    `Cannot ${action}: expected name:base64 of 32 bytes, received something else`,
  );
}
