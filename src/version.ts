declare const HANDPICK_VERSION: string | undefined;

/** The version of this release; `dev` where the source runs unbundled. */
export const VERSION: string = typeof HANDPICK_VERSION === "string" ? HANDPICK_VERSION : "dev";
