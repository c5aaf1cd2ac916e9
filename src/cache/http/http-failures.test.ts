import { createFakeClock } from "../../../test/fakes/clock.ts";
import { httpFailures, TIMEOUTS } from "../../../test/http-failures.ts";
import { nginxSkip, startNginx } from "../../../test/nginx.ts";
import { openCache } from "../open-cache.ts";
import { Secret } from "../../secret.ts";
import { narInfoName } from "../binary-cache.ts";

const PASSWORD = "a-password-of-ours";

httpFailures({
  name: "http:// on nginx with WebDAV",
  skip: nginxSkip(),
  isBelieved: ({ method }) => method === "PUT",
  async setup() {
    const nginx = await startNginx();
    return {
      target: nginx.url,
      open: (url) =>
        openCache({
          name: "mine",
          url,
          login: { user: "me", password: new Secret(PASSWORD) },
          env: {},
          clock: createFakeClock(),
          timeouts: TIMEOUTS,
        }),
      isServed: async (hashPart) => {
        const response = await fetch(`${nginx.url}/${narInfoName(hashPart)}`);
        await response.arrayBuffer();
        return response.ok;
      },
      secrets: [PASSWORD, btoa(`me:${PASSWORD}`)],
      [Symbol.asyncDispose]: () => nginx[Symbol.asyncDispose](),
    };
  },
});
