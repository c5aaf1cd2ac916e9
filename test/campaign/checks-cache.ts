import { createHash } from "node:crypto";

import { encodeBase32 } from "../../src/nix/base32.ts";
import { hashPartOf } from "./evidence.ts";
import type { CacheEvidence, Check, Evidence } from "./evidence.ts";
import { KINDS } from "./kinds/kinds.ts";
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
    [...published].flatMap(([hashPart, { narHash, narSize, references, nar }]) => {
      const record = records.get(hashPart);
      if (record === undefined) return [`${name}: ${hashPart} is published and not in the store`];
      const bytes = nar();
      if (bytes === undefined) return [`${name}: ${record.path} is published without its NAR`];
      const hash = `sha256:${encodeBase32(createHash("sha256").update(bytes).digest())}`;
      const found = [hash, bytes.length, narHash, narSize, references.toSorted().join(" ")];
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

/** Readers stumble over nothing: what a cache tells of is there, and nothing else lies in it. */
export const readersGetAll: Check = ({ caches }) =>
  caches.flatMap(({ name, flaws }) => flaws.map((flaw) => `${name}: ${flaw}`));

/** Promise 1: neither the bytes nor the names of anything else are sent, nor is it asked for. */
export const nothingElseIsSent: Check = ({ caches, allowed: all, records }) =>
  caches.flatMap(({ name, kind, log, published }) => {
    const allowed = new Set([...(all.get(name) ?? [])].map(hashPartOf));
    const strangers = [...records.keys()].filter((hashPart) => !allowed.has(hashPart));
    const shown = strangers.filter((hashPart) => published.has(hashPart));
    const sent = log.flatMap((request) => {
      const told = KINDS[kind].told(request);
      const found = strangers.filter((hashPart) => told.includes(hashPart));
      if (told.includes(UNPICKED_MARK)) found.push("the contents of an unpicked path");
      // A large path shows its start only, and refers to nothing.
      const place = `${request.operation} ${request.target.slice(0, 40)}`;
      return found.map((what) => `${name}: ${place} tells ${what}`);
    });
    return [...sent, ...shown.map((hashPart) => `${name}: ${hashPart} is published`)];
  });

/**
 * Uploads are published or given up, but for those of a run that was killed, those whose start was
 * never answered, and those whose publication was asked for, whatever the cache made of that.
 */
export const uploadsAreEnded: Check = ({ caches, signals, ended, step }) => {
  // Nobody hears what is asked of a cache that is gone.
  const isDeaf = step.faults.some(({ effect }) => effect === "cache gone");
  if (signals.includes("SIGKILL") || isDeaf || isCutShort({ signals, ended })) return [];
  return caches.flatMap((cache) =>
    KINDS[cache.kind]
      .unended(cache)
      .map((upload) => `${cache.name}: upload ${upload} was neither published nor given up`),
  );
};

/** No upload is given up once it may be published: the publication could be lost to it. */
export const nothingPublishedIsGivenUp: Check = ({ caches }) =>
  caches.flatMap((cache) => {
    const early = KINDS[cache.kind].givenUpTooEarly?.(cache) ?? [];
    return early.map(
      (what) => `${cache.name}: upload ${what} is given up while it is being published`,
    );
  });

/** The client keeps to the rules of the protocol. */
export const protocolIsKept: Check = ({ caches }) =>
  caches.flatMap(({ name, violations }) => violations.map((what) => `${name}: ${what}`));

/** A second signal ends the run at once. */
function isCutShort({ signals, ended }: Pick<Evidence, "signals" | "ended">): boolean {
  return ended.hung || signals.filter((signal) => signal !== "SIGKILL").length > 1;
}

function baseName(path: string): string {
  return path.slice("/nix/store/".length);
}

/** The wanted paths that readers of a cache do not get. */
export function missingIn(cache: CacheEvidence, wanted: Evidence["wanted"]): string[] {
  return [...(wanted.get(cache.name) ?? [])].filter((path) => !cache.isVisible(hashPartOf(path)));
}
