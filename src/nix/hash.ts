declare const sha256Brand: unique symbol;

/** A SHA-256 in the one spelling used inside handpick: `sha256:` and 52 characters of nix32. */
export type Sha256 = string & { readonly [sha256Brand]: true };
