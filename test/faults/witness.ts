import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { zstdDecompressSync } from "node:zlib";

import { isRetryable } from "../../src/http/retry.ts";
import { sha256FromDigest } from "../../src/nix/hash.ts";
import { parsePublicKey } from "../../src/nix/key.ts";
import type { PathInfo } from "../../src/nix/path-info.ts";
import { fingerprint, verifyFingerprint } from "../../src/nix/signature.ts";
import { baseNameOf, hashPartOf } from "../../src/nix/store-path.ts";
import type { HashPart } from "../../src/nix/store-path.ts";
import type { Answer, Exchange, ProxiedRequest } from "./fault-proxy.ts";
import type { CompleteBody } from "./schedule.ts";

export interface WitnessOptions {
  /** The server itself, past all faults. */
  readonly url: string;
  readonly publicKeys: readonly string[];
  /** What the store recorded about every path that is pushed. */
  readonly infos: Iterable<PathInfo>;
}

/** How often the whole cache is looked at, in publications. */
const WHOLE_LOOK = 16;

/**
 * Sees what the server does and what readers get of it, and holds that to the promises: a visible
 * path has a visible closure at every moment, every path is uploaded and published once, and its
 * bytes are those that the store recorded.
 */
export class Witness {
  /** Readers see these; once seen, a path has to stay. */
  readonly visible: Set<HashPart> = new Set();
  readonly #options: WitnessOptions;
  readonly #infos: ReadonlyMap<HashPart, PathInfo>;
  readonly #referrers = new Map<HashPart, HashPart[]>();
  /** MD5s of the parts of each upload. */
  readonly #parts = new Map<string, Set<string>>();
  /** The upload of each part in this push, by its MD5: no two paths share one. */
  readonly #uploadOf = new Map<string, string>();
  /** The upload that published a path. */
  readonly #uploads = new Map<string, string>();
  readonly #publishedParts = new Set<string>();
  readonly #ended = new Set<string>();
  /** Uploads whose publication may be under way, for all that the client knows. */
  readonly #doubtful = new Set<string>();
  /** Uploads of which an answer about their publication was lost. */
  readonly #lost = new Set<string>();
  /** MD5s of parts that the server took. */
  readonly #taken = new Set<string>();
  /** True once a connection was closed that the client may have sent something on which nobody heard. */
  #isClosing = false;
  #publications = 0;

  constructor(options: WitnessOptions) {
    this.#options = options;
    this.#infos = new Map([...options.infos].map((info) => [hashPartOf(info.path), info]));
    for (const [hashPart, { references }] of this.#infos) {
      for (const reference of references.map(hashPartOf)) {
        if (reference === hashPart) continue;
        this.#referrers.set(reference, [...(this.#referrers.get(reference) ?? []), hashPart]);
      }
    }
  }

  /** Another push begins: it may upload again what the one before gave up. */
  nextPush(): void {
    this.#uploadOf.clear();
  }

  /** Takes note of a request that the server has answered. */
  async observe(exchange: Exchange, { status }: Answer): Promise<void> {
    const { operation, target } = exchange.request;
    const narId = narIdOf(target);
    if (operation === "part-url") {
      const { contentMD5 } = JSON.parse((await exchange.body()).toString()) as PartUrlBody;
      this.#parts.set(narId, (this.#parts.get(narId) ?? new Set()).add(contentMD5));
      const first = this.#uploadOf.get(contentMD5) ?? narId;
      assert.equal(narId, first, `part ${contentMD5} was begun again in another upload`);
      this.#uploadOf.set(contentMD5, narId);
    } else if (operation === "put" && status === 200) {
      this.#taken.add(String(exchange.request.headers["content-md5"]));
    } else if (operation === "complete" && status === 200) {
      const { narInfoCreate } = JSON.parse((await exchange.body()).toString()) as CompleteBody;
      await this.#published(narInfoCreate.cStoreHash as HashPart, narId);
    }
  }

  /** Takes note of what the client asks for, whether or not the server hears of it. */
  expect({ operation, target, headers }: ProxiedRequest): void {
    if (operation === "complete") {
      this.#doubtful.add(narIdOf(target));
    } else if (operation === "abort") {
      this.#ended.add(narIdOf(target));
    } else if (operation === "put") {
      const md5 = String(headers["content-md5"]);
      assert.ok(!this.#publishedParts.has(md5), `part ${md5} came again after its publication`);
    }
  }

  /** Takes note of the answer that the client got. */
  answered({ request: { operation, target }, sentStatus: status, isClosedLater }: Exchange): void {
    this.#isClosing ||= isClosedLater;
    if (operation !== "complete") return;
    const narId = narIdOf(target);
    const isDefinite = status !== undefined && !isRetryable(status);
    if (!isDefinite) this.#lost.add(narId);
    // After a lost answer a refusal may be of an upload that is published already.
    else if (!this.#lost.has(narId)) this.#doubtful.delete(narId);
  }

  /**
   * Every upload that the client knew of was published or given up, or may be published yet: also by a request on a
   * connection that was being closed, of which the client cannot know that nobody heard it.
   */
  assertNothingOpen(): void {
    const open = [...this.#parts].filter(([narId, parts]) => {
      const isUnheard = this.#isClosing && parts.isSubsetOf(this.#taken);
      return !this.#ended.has(narId) && !this.#doubtful.has(narId) && !isUnheard;
    });
    assert.deepEqual(
      Object.fromEntries(open),
      {},
      "uploads that were neither published nor given up",
    );
  }

  /** Looks at some paths, or all: none may be visible with a reference that is not. */
  async look(hashParts: Iterable<HashPart> = this.#infos.keys()): Promise<void> {
    for (const hashPart of hashParts) {
      if (this.visible.has(hashPart) || (await this.#narInfo(hashPart)) === undefined) continue;
      this.visible.add(hashPart);
      const references = this.#infos.get(hashPart)?.references.map(hashPartOf) ?? [];
      for (const reference of references) {
        if (this.visible.has(reference)) continue;
        const found = await this.#narInfo(reference);
        assert.ok(found, `${hashPart} is visible without its reference ${reference}`);
        await this.look([reference]);
      }
    }
  }

  /** Reads every visible path as Nix would, and compares it with the record of the store. */
  async assertBytes(): Promise<void> {
    for (const hashPart of this.visible) {
      const info = this.#infos.get(hashPart);
      const fields = await this.#narInfo(hashPart);
      assert.ok(info && fields, `${hashPart} was visible and is not any more`);
      const response = await fetch(`${this.#options.url}/${fields.get("URL")}`);
      const file = Buffer.from(await response.arrayBuffer());
      const nar = unpacked(file);
      const sha256 = (bytes: Buffer): Buffer => createHash("sha256").update(bytes).digest();
      const references = info.references.map(baseNameOf).join(" ");
      const { Sig: signature = "", ...found } = Object.fromEntries(fields);
      assert.deepEqual(
        [found["StorePath"], found["NarHash"], found["NarSize"], found["References"]],
        [info.path, info.narHash, String(info.narSize), references],
      );
      assert.equal(sha256FromDigest(sha256(nar)), info.narHash);
      assert.equal(nar.length, info.narSize);
      assert.equal(found["FileHash"], `sha256:${sha256(file).toString("hex")}`);
      assert.equal(found["FileSize"], String(file.length));
      const keys = this.#options.publicKeys.map(parsePublicKey);
      assert.ok(verifyFingerprint(fingerprint({ ...info, storePath: info.path }), signature, keys));
    }
  }

  async #published(hashPart: HashPart, narId: string): Promise<void> {
    const before = this.#uploads.get(hashPart) ?? narId;
    assert.equal(narId, before, `${hashPart} was published by two uploads`);
    this.#uploads.set(hashPart, narId);
    this.#ended.add(narId);
    for (const md5 of this.#parts.get(narId) ?? []) this.#publishedParts.add(md5);
    this.#publications += 1;
    if (this.#publications % WHOLE_LOOK === 0) await this.look();
    else await this.look(this.#affected(hashPart));
  }

  /** The path and all that need it, as far as nobody saw them yet. */
  #affected(hashPart: HashPart): Set<HashPart> {
    const affected = new Set([hashPart]);
    for (const one of affected) {
      for (const referrer of this.#referrers.get(one) ?? []) affected.add(referrer);
    }
    return affected.difference(this.visible);
  }

  async #narInfo(hashPart: HashPart): Promise<Map<string, string> | undefined> {
    const response = await fetch(`${this.#options.url}/${hashPart}.narinfo`);
    const text = await response.text();
    if (response.status === 404) return undefined;
    assert.equal(response.status, 200, text);
    return new Map(
      text
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => {
          const [key = "", ...value] = line.split(":");
          return [key, value.join(":").trim()];
        }),
    );
  }
}

/** All frames of a file: zlib stops after the first, and tells how far it read. */
function unpacked(file: Buffer): Buffer {
  const frames: Buffer[] = [];
  for (let at = 0; at < file.length;) {
    const found: unknown = zstdDecompressSync(file.subarray(at), { info: true });
    const { buffer, engine } = found as Unpacked;
    frames.push(buffer);
    at += engine.bytesWritten;
  }
  return Buffer.concat(frames);
}

interface Unpacked {
  readonly buffer: Buffer;
  readonly engine: { readonly bytesWritten: number };
}

interface PartUrlBody {
  readonly contentMD5: string;
}

function narIdOf(target: string): string {
  return /\/multipart-nar\/([^/?]+)/.exec(target)?.[1] ?? "";
}
