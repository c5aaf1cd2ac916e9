import { createFakeClock } from "../../../test/fakes/clock.ts";
import { FAKE_SIGNER, startFakeS3 } from "../../../test/fakes/s3.ts";
import { httpFailures, TIMEOUTS } from "../../../test/http-failures.ts";
import { IS_LONG } from "../../../test/long.ts";
import { FAKE_S3_ENV } from "../../../test/s3-rig.ts";
import { parseNarInfo } from "../../nix/narinfo.ts";
import { narInfoName } from "../binary-cache.ts";
import { createS3Cache } from "./s3-cache.ts";

/** The end of an upload, and giving it up. */
const END = /\?uploadId=/;

for (const [size, parts] of [
  ["one part", 1],
  ["several parts", 2],
] as const) {
  httpFailures({
    name: `createS3Cache() with a path of ${size}`,
    sample: { parts },
    // What both have in common is tried with one, and each request of several parts takes long.
    isStart: ({ target }) => parts === 1 || (IS_LONG ? /[?&]upload(?:s|Id)\b/ : END).test(target),
    async setup() {
      Object.assign(process.env, FAKE_S3_ENV);
      const fake = await startFakeS3();
      fake.leastPart = 1;
      const { searchParams } = new URL(fake.url);
      return {
        target: `http://${searchParams.get("endpoint")}`,
        keepsHost: true,
        open: (proxyUrl) =>
          createS3Cache({
            name: "mine",
            url: `s3://bucket?endpoint=${new URL(proxyUrl).host}&scheme=http`,
            env: {},
            clock: createFakeClock(Date.now()),
            timeouts: TIMEOUTS,
          }),
        async isServed(hashPart) {
          const narInfo = fake.objects.get(narInfoName(hashPart))?.bytes.toString();
          return narInfo !== undefined && fake.objects.has(parseNarInfo(narInfo).url);
        },
        secrets: [FAKE_SIGNER.secretKey],
        [Symbol.asyncDispose]: () => fake[Symbol.asyncDispose](),
      };
    },
  });
}
