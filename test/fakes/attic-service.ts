import { createHash } from "node:crypto";

import { sha256FromDigest, type Sha256 } from "../../src/nix/hash.ts";
import {
  generateSecretKey,
  printPublicKey,
  publicKeyOf,
  type SecretKey,
} from "../../src/nix/key.ts";
import { fingerprint, signFingerprint } from "../../src/nix/signature.ts";
import { fromBaseName, type StorePath } from "../../src/nix/store-path.ts";
import { type Description, readDescription, wrongInMissing } from "./attic-checks.ts";
import type { RecordedRequest, Reply } from "./scripted-servers.ts";

/** What a request is for; tests script and count by it. */
export type Operation = "config" | "missing" | "upload" | "info" | "narinfo" | "nar" | "unknown";

/** A path that readers see. */
export interface Published {
  readonly description: Description;
  readonly nar: Buffer;
}

const PREAMBLE_SIZE = "x-attic-nar-info-preamble-size";
const MAX_BODY = 2 * 1024 * 1024;
const MAX_PREAMBLE = 1024 * 1024;

/**
 * The state and the rules of an Attic server with one cache: requests in, replies out, no network. Stricter than a
 * real one, which takes references that are not there and NARs that are none.
 */
export class AtticService {
  readonly cacheName: string;
  token: string | undefined = "fake-token";
  /** False for a token that may only read. */
  mayPush = true;
  isPublic = true;
  storeDir = "/nix/store";
  /** Announced in place of what is made of the Host header. */
  endpoint: string | undefined;
  /** Hash parts that readers get elsewhere. */
  readonly upstream: Set<string> = new Set();
  /** In the order in which paths became visible. */
  readonly published: Map<string, Published> = new Map();
  /** What the client did against the rules; empty for a good one. */
  readonly violations: string[] = [];
  readonly key: SecretKey;

  constructor(cacheName: string) {
    this.cacheName = cacheName;
    this.key = generateSecretKey(cacheName);
  }

  get publicKey(): string {
    return printPublicKey(publicKeyOf(this.key));
  }

  handle(request: RecordedRequest<Operation>): Reply {
    if (request.operation === "unknown") return this.#violation(request, "it is no call of Attic");
    const isReading = ["config", "info", "narinfo", "nar"].includes(request.operation);
    const refusal = this.#refusal(request, isReading);
    if (refusal !== undefined) return refusal;
    switch (request.operation) {
      case "config":
        return this.#config(request);
      case "missing":
        return this.#missing(request);
      case "upload":
        return this.#upload(request);
      case "info":
        return {
          status: 200,
          body: `WantMassQuery: 1\nStoreDir: ${this.storeDir}\nPriority: 40\n`,
        };
      case "narinfo":
        return this.#narInfo(request);
      case "nar":
        return this.#nar(request);
    }
  }

  /** A token that is none counts as if there was none. */
  #refusal({ headers }: RecordedRequest<Operation>, isReading: boolean): Reply | undefined {
    const isKnown = this.token === undefined || headers.authorization === `Bearer ${this.token}`;
    if (isKnown ? isReading || this.mayPush : isReading && this.isPublic) return undefined;
    return isKnown || this.isPublic
      ? error(
          403,
          "AccessError",
          "Access error: User does not have permission to complete this action.",
        )
      : error(401, "Unauthorized", "Unauthorized.");
  }

  #config({ headers, target }: RecordedRequest<Operation>): Reply {
    if (!target.endsWith(`/${this.cacheName}`)) return noSuchCache();
    const endpoint = this.endpoint ?? `http://${headers.host}/`;
    const body = {
      substituter_endpoint: `${endpoint}${this.cacheName}`,
      api_endpoint: endpoint,
      public_key: this.publicKey,
      is_public: this.isPublic,
      store_dir: this.storeDir,
      priority: 40,
      upstream_cache_key_names: ["cache.nixos.org-1"],
      retention_period: "Global",
    };
    return { status: 200, body };
  }

  #missing(request: RecordedRequest<Operation>): Reply {
    if (request.body.length > MAX_BODY) return { status: 413, body: "length limit exceeded" };
    if (request.headers["content-type"] !== "application/json")
      return this.#violation(request, "415");
    const { cache, hashes, faults } = wrongInMissing(request.body);
    for (const fault of faults) this.#violation(request, fault);
    if (cache !== this.cacheName) return noSuchCache();
    // The order is that of a hash table.
    const missing = [...new Set(hashes)].filter((hash) => !this.published.has(hash)).toReversed();
    return { status: 200, body: { missing_paths: missing } };
  }

  #upload(request: RecordedRequest<Operation>): Reply {
    const { headers, body } = request;
    const size = Number(headers[PREAMBLE_SIZE]);
    if (!Number.isInteger(size) || size <= 0 || headers["x-attic-nar-info"] !== undefined) {
      return this.#violation(request, `expected ${PREAMBLE_SIZE} alone`);
    }
    if (size > MAX_PREAMBLE) return error(400, "RequestError", "Upload info is too large.");
    const { description, faults } = readDescription(body.subarray(0, size).toString());
    for (const fault of faults) this.#violation(request, fault);
    if (description.cache !== this.cacheName) return noSuchCache();
    const nar = body.subarray(size);
    if (headers["content-length"] !== `${size + description.nar_size}`) {
      this.#violation(request, "the size of the body is not that of description and NAR");
    }
    const { nar_hash: narHash, nar_size: narSize } = description;
    if (nar.length < narSize || hashOf(nar) !== narHash) {
      return error(400, "RequestError", "Bad NAR Hash or Size");
    }
    return this.#publish(request, { description, nar });
  }

  #publish(request: RecordedRequest<Operation>, path: Published): Reply {
    const { description, nar } = path;
    const { store_path_hash: hash, references } = description;
    for (const reference of references.map((name) => name.slice(0, 32))) {
      const isThere = this.published.has(reference) || this.upstream.has(reference);
      if (!isThere && reference !== hash) this.#violation(request, `${reference} is not there yet`);
    }
    const isKnown = this.published.values().some((one) => one.nar.equals(nar));
    this.published.set(hash, path);
    return {
      status: 200,
      body: isKnown
        ? { kind: "Deduplicated", frac_deduplicated: null }
        : { kind: "Uploaded", file_size: nar.length, frac_deduplicated: null },
    };
  }

  #narInfo({ target }: RecordedRequest<Operation>): Reply {
    const hash = /\/(\w+)\.narinfo$/.exec(target)?.[1] ?? "";
    const found = this.published.get(hash);
    if (found === undefined)
      return error(404, "NoSuchObject", "The requested object does not exist.");
    const { description } = found;
    const path = {
      storePath: description.store_path as StorePath,
      narHash: narHashOf(found),
      narSize: description.nar_size,
      references: description.references.map((name) => fromBaseName(name)),
    };
    const lines = [
      `StorePath: ${path.storePath}`,
      `URL: nar/${hash}.nar`,
      "Compression: none",
      `NarHash: ${description.nar_hash}`,
      `NarSize: ${path.narSize}`,
      `References: ${description.references.join(" ")}`,
      ...(description.deriver === null ? [] : [`Deriver: ${description.deriver}`]),
      ...(description.ca === null ? [] : [`CA: ${description.ca}`]),
      `Sig: ${signFingerprint(fingerprint(path), this.key)}`,
    ];
    return {
      status: 200,
      headers: { "content-type": "text/x-nix-narinfo" },
      body: `${lines.join("\n")}\n`,
    };
  }

  #nar({ target }: RecordedRequest<Operation>): Reply {
    const found = this.published.get(/\/nar\/(\w+)\.nar$/.exec(target)?.[1] ?? "");
    if (found === undefined)
      return error(404, "NoSuchObject", "The requested object does not exist.");
    return { status: 200, headers: { "content-type": "application/x-nix-nar" }, body: found.nar };
  }

  #violation({ method, target }: RecordedRequest<Operation>, fault: string): Reply {
    this.violations.push(`${method} ${target}: ${fault}`);
    return error(400, "RequestError", fault);
  }
}

function error(code: number, name: string, message: string): Reply {
  return { status: code, body: { code, error: name, message } };
}

function noSuchCache(): Reply {
  return error(404, "NoSuchCache", "The requested cache does not exist.");
}

function narHashOf({ nar }: Published): Sha256 {
  return sha256FromDigest(createHash("sha256").update(nar).digest());
}

function hashOf(nar: Buffer): string {
  return `sha256:${createHash("sha256").update(nar).digest("hex")}`;
}
