import { createHash } from "node:crypto";
import { constants, zstdDecompressSync } from "node:zlib";

import { encodeBase32 } from "../../src/nix/base32.ts";
import { texts } from "../fakes/cachix-checks.ts";
import type { LoggedRequest } from "./fault-player.ts";
import { CLOSING, STROKES } from "./effects.ts";
import { hashPartOf } from "./evidence.ts";
import type { CacheEvidence, Check, Evidence } from "./evidence.ts";
import { UNPICKED_MARK } from "./machine.ts";

/** Promise 2: what readers see has all of its closure visible. */
export const closureIsVisible: Check = ({ caches, records }) =>
  caches.flatMap(({ name, published, isVisible }) =>
    [...published.keys()].filter(isVisible).flatMap((hashPart) => {
      const references = records.get(hashPart)?.references.map(hashPartOf) ?? [];
      const holes = references.filter((reference) => !isVisible(reference));
      return holes.map((hole) => `${name}: ${hashPart} is visible without its reference ${hole}`);
    }),
  );

/** Promise 3: what is published is what the store recorded, byte for byte. */
export const bytesAreRecorded: Check = ({ caches, records }) =>
  caches.flatMap(({ name, published }) =>
    [...published].flatMap(([hashPart, { narInfo, file }]) => {
      const record = records.get(hashPart);
      if (record === undefined) return [`${name}: ${hashPart} is published and not in the store`];
      const nar = zstdDecompressSync(file);
      const narHash = `sha256:${encodeBase32(createHash("sha256").update(nar).digest())}`;
      const found = [
        narHash,
        nar.length,
        narInfo["cNarHash"],
        narInfo["cNarSize"],
        texts(narInfo["cReferences"]).toSorted().join(" "),
      ];
      const right = [
        record.narHash,
        record.narSize,
        record.narHash,
        record.narSize,
        record.references.map(baseName).toSorted().join(" "),
      ];
      return found.join() === right.join()
        ? []
        : [`${name}: ${record.path} is published as ${found.join()}, recorded as ${right.join()}`];
    }),
  );

/** Promise 1: neither the bytes nor the names of anything else are sent, nor is it asked for. */
export const nothingElseIsSent: Check = ({ caches, allowed: all, records }) =>
  caches.flatMap(({ name, log }) => {
    const allowed = new Set([...(all.get(name) ?? [])].map(hashPartOf));
    const strangers = [...records.keys()].filter((hashPart) => !allowed.has(hashPart));
    return log.flatMap(({ operation, target, body = Buffer.alloc(0) }) => {
      // The deriver is part of what readers get of a path.
      const text = body.toString().replace(/"cDeriver":"[^"]*"/, "");
      const told = operation === "put" ? startOfNar(body) : text;
      const found = strangers.filter((hashPart) => told.includes(hashPart));
      if (told.includes(UNPICKED_MARK)) found.push("the contents of an unpicked path");
      // A large path shows its start only, and refers to nothing.
      return found.map((what) => `${name}: ${operation} ${target.slice(0, 40)} tells ${what}`);
    });
  });

/**
 * Uploads are published or given up, but for those of a run that was killed, those whose start was
 * never answered, and those whose publication was asked for, whatever the cache made of that.
 */
export const uploadsAreEnded: Check = ({ caches, signals, ended, step }) => {
  // Nobody hears what is asked of a server that is gone.
  const isDeaf = step.faults.some(({ effect }) => effect === "server gone");
  if (signals.includes("SIGKILL") || isDeaf || isCutShort({ signals, ended })) return [];
  return caches.flatMap(({ name, openUploads, log }) =>
    openUploads
      .filter((narId) => isKnown(narId, log))
      .filter((narId) => !log.some((one) => one.narId === narId && isLast(one)))
      .filter((narId) => !isAskedUnheard(narId, log))
      .map((narId) => `${name}: upload ${narId} was neither published nor given up`),
  );
};

/** No upload is given up once it may be published: the publication could be lost to it. */
export const nothingPublishedIsGivenUp: Check = ({ caches }) =>
  caches.flatMap(({ name, log }) =>
    log
      .filter(({ operation }) => operation === "abort")
      .filter(({ narId, at }) => log.some((one) => one.narId === narId && mayWork(one, at)))
      .map(({ narId }) => `${name}: upload ${narId} is given up while it is being published`),
  );

/** The client keeps to the rules of the protocol. */
export const protocolIsKept: Check = ({ caches }) =>
  caches.flatMap(({ name, violations }) => violations.map((what) => `${name}: ${what}`));

/** A part that was asked for tells that the client knows of the upload. */
function isKnown(narId: string, log: readonly LoggedRequest[]): boolean {
  return log.some((one) => one.narId === narId);
}

function isLast({ operation }: LoggedRequest): boolean {
  return operation === "abort" || operation === "complete";
}

/**
 * The question to publish may have gone to a connection that was closed meanwhile. Nobody heard it, and
 * the client cannot know that.
 */
function isAskedUnheard(narId: string, log: readonly LoggedRequest[]): boolean {
  const isClosing = log.some(({ fault }) => fault?.effect === CLOSING);
  const puts = log.filter((one) => one.narId === narId && one.operation === "put");
  return isClosing && (puts.at(-1)?.status() ?? 0) === 200;
}

/** The cache works on the publication, or did it: success is its answer, or nobody waited for one. */
function mayWork({ operation, at, status, fault }: LoggedRequest, abortedAt: number): boolean {
  // An answer that a fault made up, or lost, says that the client knew no better.
  const isServed = fault === undefined || STROKES.some((stroke) => stroke === fault.effect);
  return operation === "complete" && at < abortedAt && isServed && (status() ?? 200) < 300;
}

/** A second signal ends the run at once. */
function isCutShort({ signals, ended }: Pick<Evidence, "signals" | "ended">): boolean {
  return ended.hung || signals.filter((signal) => signal !== "SIGKILL").length > 1;
}

/** The first bytes of what a part holds; empty for a part within a NAR. */
function startOfNar(part: Buffer): string {
  try {
    const options = { finishFlush: constants.ZSTD_e_flush, maxOutputLength: 1 << 20 };
    return zstdDecompressSync(part.subarray(0, 1 << 16), options).toString("latin1");
  } catch {
    return "";
  }
}

function baseName(path: string): string {
  return path.slice("/nix/store/".length);
}

/** The wanted paths that readers of a cache do not get. */
export function missingIn(cache: CacheEvidence, wanted: Evidence["wanted"]): string[] {
  return [...(wanted.get(cache.name) ?? [])].filter((path) => !cache.isVisible(hashPartOf(path)));
}
