/**
 * Reads standard base64 with padding. Only the one canonical spelling counts, because Node's own
 * decoder skips whatever it does not know.
 *
 * @returns `undefined` if `text` is not the canonical base64 of anything.
 */
export function decodeBase64(text: string): Uint8Array | undefined {
  const buffer = Buffer.from(text, "base64");
  if (buffer.toString("base64") !== text) return undefined;
  // A copy, so that a key does not lie in the pool that other buffers are cut from.
  return new Uint8Array(buffer);
}

/** Spells bytes in standard base64 with padding. */
export function encodeBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}
