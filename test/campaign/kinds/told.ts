import { constants, zstdDecompressSync } from "node:zlib";

import type { LoggedRequest } from "../fault-player.ts";

/** The text of a request, and the first bytes of what it holds compressed. */
export function textOf({ target, body = Buffer.alloc(0) }: LoggedRequest): string {
  return `${target}\n${startOfNar(body) ?? body.toString("latin1")}`;
}

/** The same of a request to a cache in the layout of Nix. */
export function withoutDeriver(request: LoggedRequest): string {
  return textOf(request).replace(/^Deriver: .*$/m, "");
}

/** Undefined for what is not compressed, and for a part within a NAR. */
function startOfNar(part: Buffer): string | undefined {
  try {
    const options = { finishFlush: constants.ZSTD_e_flush, maxOutputLength: 1 << 20 };
    return zstdDecompressSync(part.subarray(0, 1 << 16), options).toString("latin1");
  } catch {
    return undefined;
  }
}
