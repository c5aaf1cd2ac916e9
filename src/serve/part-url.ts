import { createHmac } from "node:crypto";

import { isSameSecret } from "./access.ts";

/** How long a part URL may be used from the moment it was given out. */
export const PART_URL_LIFETIME_MS = 300_000;

/** The part of an upload that a URL lets its holder write. */
export interface PartAddress {
  readonly narId: string;
  readonly uploadId: string;
  readonly partNumber: number;
  /** MD5 of the part in base64, as announced when the URL was asked for. */
  readonly md5: string;
}

/** A part address and its signature as they came in with a request; nothing is proved yet. */
export interface ClaimedPartAddress extends PartAddress {
  /** Milliseconds since 1970. */
  readonly expires: number;
  readonly signature: string;
}

/** Path and query of the URL by which the part may be sent until `expires`. */
export function signPartUrl(address: PartAddress, expires: number, key: string): string {
  const query = new URLSearchParams({
    uploadId: address.uploadId,
    md5: address.md5,
    expires: String(expires),
    signature: sign(address, expires, key),
  });
  return `/upload/${address.narId}/${address.partNumber}?${query.toString()}`;
}

/** Returns true if a URL with these values was given out with `key` and is still alive at `now`. */
export function checkPartUrl(claimed: ClaimedPartAddress, now: number, key: string): boolean {
  return (
    isSameSecret(sign(claimed, claimed.expires, key), claimed.signature) && now < claimed.expires
  );
}

function sign(address: PartAddress, expires: number, key: string): string {
  const { narId, uploadId, partNumber, md5 } = address;
  return createHmac("sha256", key)
    .update(JSON.stringify([narId, uploadId, partNumber, md5, expires]))
    .digest("base64url");
}
