import type { Cache } from "../src/cache/contract.ts";
import type { OpenCacheOptions } from "../src/cache/kind.ts";
import { createS3Cache } from "../src/cache/s3/s3-cache.ts";
import type { RetryNotice } from "../src/http/retry.ts";
import { createFakeClock, type FakeClock } from "./fakes/clock.ts";
import { type FakeS3, FAKE_SIGNER, startFakeS3 } from "./fakes/s3.ts";

/** The variables that give this process the credentials of the fake. */
export const FAKE_S3_ENV: Readonly<Record<string, string>> = {
  AWS_ACCESS_KEY_ID: FAKE_SIGNER.accessKey,
  AWS_SECRET_ACCESS_KEY: FAKE_SIGNER.secretKey,
  AWS_EC2_METADATA_DISABLED: "true",
  AWS_CONFIG_FILE: "/nonexistent/config",
  AWS_SHARED_CREDENTIALS_FILE: "/nonexistent/credentials",
};

export interface S3Rig extends AsyncDisposable {
  readonly fake: FakeS3;
  readonly cache: Cache;
  /** Waits take no time; the hour is that of the machine. */
  readonly clock: FakeClock;
  readonly notices: RetryNotice[];
}

/** A cache in the bucket of a fake. */
export async function createS3Rig(
  more: Partial<OpenCacheOptions> & { readonly parameters?: string } = {},
): Promise<S3Rig> {
  const { parameters = "", ...options } = more;
  const fake = await startFakeS3();
  const clock = createFakeClock(Date.now());
  const notices: RetryNotice[] = [];
  const cache = createS3Cache({
    name: "mine",
    url: fake.url + parameters,
    env: {},
    clock,
    random: () => 0.5,
    onRetry: (notice) => void notices.push(notice),
    ...options,
  });
  return {
    fake,
    cache,
    clock,
    notices,
    async [Symbol.asyncDispose]() {
      await cache[Symbol.asyncDispose]();
      await fake[Symbol.asyncDispose]();
    },
  };
}
