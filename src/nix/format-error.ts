/** The formats this project reads; what went wrong is told by {@link FormatError.format}. */
export type Format =
  | "base32"
  | "hash"
  | "store-path"
  | "nar"
  | "narinfo"
  | "signature"
  | "key"
  | "derivation"
  | "manifest";

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

/** Quotes hostile text for a message: JSON-escaped, at most 80 characters of it. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}
