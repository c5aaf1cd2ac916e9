import { FormatError, quote } from "./format-error.ts";

/** Nix's own alphabet: digits and lower case without e, o, u and t. */
const ALPHABET = "0123456789abcdfghijklmnpqrsvwxyz";
const INVALID = 255;
const VALUES: Uint8Array = new Uint8Array(128).fill(INVALID);
for (const [value, character] of ALPHABET.split("").entries())
  VALUES[character.charCodeAt(0)] = value;

const CODES = Buffer.from(ALPHABET, "latin1");
/** Room for the longest hash, a SHA-512. */
const scratch = Buffer.alloc(103);

/** Length of the nix32 spelling of that many bytes. */
export function base32Length(sizeBytes: number): number {
  return Math.ceil((sizeBytes * 8) / 5);
}

/**
 * Spells bytes in Nix's base-32: the bytes are one little-endian number, and its highest five bits
 * come first.
 */
export function encodeBase32(bytes: Uint8Array): string {
  const length = base32Length(bytes.length);
  // One string from a buffer: a closure has thousands of hashes, and text + text is collected.
  const text = length <= scratch.length ? scratch : Buffer.alloc(length);
  for (let digit = length - 1; digit >= 0; digit--) {
    const bit = digit * 5;
    const index = bit >> 3;
    const pair = (bytes[index] ?? 0) | ((bytes[index + 1] ?? 0) << 8);
    text[length - 1 - digit] = CODES[(pair >> (bit & 7)) & 31] ?? 0;
  }
  return text.toString("latin1", 0, length);
}

/**
 * Reads Nix's base-32.
 *
 * @param sizeBytes How many bytes it has to be.
 * @default {the number of whole bytes that fit}
 * @throws {FormatError} If a character, the length or a bit beyond the last byte is wrong.
 */
export function decodeBase32(
  text: string,
  sizeBytes: number = Math.floor((text.length * 5) / 8),
): Uint8Array {
  if (text.length !== base32Length(sizeBytes)) {
    throw new FormatError(
      "base32",
      `Cannot decode ${quote(text)}: ${sizeBytes} bytes are ${base32Length(sizeBytes)} base-32 characters, found ${text.length}`,
    );
  }
  const bytes = new Uint8Array(sizeBytes);
  for (let digit = 0; digit < text.length; digit++) {
    const value = VALUES[text.charCodeAt(text.length - 1 - digit)] ?? INVALID;
    if (value === INVALID) {
      const character = text.charAt(text.length - 1 - digit);
      throw new FormatError(
        "base32",
        `Cannot decode ${quote(text)}: base-32 has no character ${quote(character)}`,
      );
    }
    const bit = digit * 5;
    const index = bit >> 3;
    const pair = value << (bit & 7);
    bytes[index] = (bytes[index] ?? 0) | (pair & 255);
    const carry = pair >> 8;
    if (index + 1 < sizeBytes) bytes[index + 1] = carry;
    else if (carry !== 0) {
      throw new FormatError(
        "base32",
        `Cannot decode ${quote(text)}: the first character sets bits beyond ${sizeBytes} bytes`,
      );
    }
  }
  return bytes;
}
