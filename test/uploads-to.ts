import type { Cache, Upload } from "../src/cache/contract.ts";
import type { SampleUpload } from "./sample-upload.ts";

/** Uploads samples into one cache. */
export interface Uploads {
  /** Begins an upload and puts all parts. */
  begin(sample: SampleUpload): Promise<Upload>;
  /** The whole way of one path. */
  push(sample: SampleUpload): Promise<void>;
}

export function uploadsTo(cache: Cache, signal: AbortSignal): Uploads {
  const begin = async ({ request, parts }: SampleUpload): Promise<Upload> => {
    const upload = await cache.beginUpload(request, signal);
    for (const part of parts) await upload.putPart(part, signal);
    return upload;
  };
  return { begin, push: async (sample) => (await begin(sample)).publish(sample.packed, signal) };
}
