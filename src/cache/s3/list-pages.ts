import {
  ListObjectsV2Command,
  type ListObjectsV2CommandInput,
  type ListObjectsV2CommandOutput,
} from "@aws-sdk/client-s3";

import type { ObjectRequest } from "../layout/object-store.ts";
import type { S3Bucket } from "./s3-bucket.ts";

/** What a list is of, below the root of the cache. */
export type Listed = Pick<ListObjectsV2CommandInput, "Delimiter"> & {
  /** How names begin. */
  readonly prefix: string;
};

/** Lists objects of a bucket in the order of their names, by pages; the last one names none that follows. */
export async function* listPages(
  bucket: S3Bucket,
  { prefix, ...listed }: Listed,
  request: ObjectRequest,
): AsyncGenerator<ListObjectsV2CommandOutput> {
  const input = { ...bucket.bucket(), Prefix: bucket.keyOf("") + prefix, ...listed };
  let token: string | undefined;
  do {
    const more = token === undefined ? {} : { ContinuationToken: token };
    const command = new ListObjectsV2Command({ ...input, ...more });
    const page = await bucket.ask(request, (sdk, options) => sdk.send(command, options));
    yield page;
    token = page.NextContinuationToken;
  } while (token !== undefined);
}
