/**
 * Control and format characters, line and paragraph separators. One expression for all who look for
 * them, as Node takes a while to list the characters of a class.
 */
export const UNPRINTABLE: RegExp = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/** The formats this project reads; what went wrong is told by {@link FormatError.format}. */
export type Format =
  | "base32"
  | "hash"
  | "content-address"
  | "store-path"
  | "nar"
  | "narinfo"
  | "nix-cache-info"
  | "signature"
  | "key"
  | "derivation"
  | "manifest"
  | "netrc";

/**
 * Text or bytes that do not follow their format. The only error that parsers in `nix/` throw for
 * bad input, whatever the input is. The message is bounded in length and never quotes a secret.
 */
export class FormatError extends SyntaxError {
  override readonly name = "FormatError";
  readonly format: Format;

  constructor(format: Format, message: string, options?: ErrorOptions) {
    super(message, options);
    this.format = format;
  }
}

/** Returns the fault alone, for a message that names by itself what was read. */
export function faultOf({ message }: FormatError): string {
  return message.replace(/^Cannot read [^:]*: /, "");
}

/**
 * Quotes hostile text for a message: JSON-escaped, at most 80 characters of it. What JSON leaves
 * alone but a terminal may obey (C1 controls, direction marks, line separators) is escaped too.
 */
export function quote(text: string): string {
  const bounded = text.length > 80 ? `${text.slice(0, 80)}…` : text;
  return JSON.stringify(bounded).replace(UNPRINTABLE, escape);
}

/** Quotes what may be a URL as {@link bareUrl} shows it. */
export function quoteUrl(text: string): string {
  return quote(bareUrl(text));
}

/** Leaves out of a URL what may be secret in it: user name, password and query. */
export function bareUrl(text: string): string {
  return text.replace(/^([^/]*\/\/).*@/s, "$1…@").replace(/\?.*/s, "?…");
}

function escape(character: string): string {
  const units = Array.from({ length: character.length }, (_, index) => character.charCodeAt(index));
  return units.map((unit) => `\\u${unit.toString(16).padStart(4, "0")}`).join("");
}
