import { cacheConformance } from "../../../test/cache-conformance.ts";
import { FAKE_SIGNER, startFakeS3 } from "../../../test/fakes/s3.ts";
import { FAKE_S3_ENV } from "../../../test/s3-rig.ts";
import { parseNarInfo } from "../../nix/narinfo.ts";
import { hashPartOf } from "../../nix/store-path.ts";
import { narInfoName } from "../binary-cache.ts";
import type { Cache } from "../contract.ts";
import { createS3Cache } from "./s3-cache.ts";

const RENEWED = { ...FAKE_SIGNER, accessKey: "AKIARENEWED", secretKey: "renewed" };

cacheConformance({
  name: "createS3Cache() on a strict fake",
  async setup({ clock } = {}) {
    Object.assign(process.env, FAKE_S3_ENV);
    const fake = await startFakeS3();
    const open = (): Cache => createS3Cache({ name: "mine", url: fake.url, clock, env: {} });
    const cache = open();
    const read = (name: string): Buffer | undefined => fake.objects.get(name)?.bytes;
    return {
      cache,
      isServed: async (hashPart) => fake.objects.has(narInfoName(hashPart)),
      async narInfo(path) {
        const text = read(narInfoName(hashPartOf(path)))?.toString();
        return text === undefined ? undefined : parseNarInfo(text);
      },
      companion: async (name) => read(name),
      async revoke() {
        fake.signers = [RENEWED];
        process.env["AWS_ACCESS_KEY_ID"] = RENEWED.accessKey;
        process.env["AWS_SECRET_ACCESS_KEY"] = RENEWED.secretKey;
        return open();
      },
      async [Symbol.asyncDispose]() {
        await cache[Symbol.asyncDispose]();
        await fake[Symbol.asyncDispose]();
      },
    };
  },
});
