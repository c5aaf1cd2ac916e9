import type { PinRequest } from "../contract.ts";
import type { HttpResponse } from "../../http/http-message.ts";
import { readPins } from "./answers.ts";
import type { Call, CachixApi } from "./cachix-api.ts";
import { sendUntilEffective } from "../send-until-effective.ts";

/** Pins a path, once: a repeated request would make a second revision. Returns the answer. */
export function sendPin(
  api: CachixApi,
  { name, storePath, artifacts = [], keep }: PinRequest,
  signal: AbortSignal,
): Promise<HttpResponse> {
  const action = `pin ${JSON.stringify(name)} in ${api.label}`;
  const body = { name, storePath, artifacts, keep: keepOf(keep) };
  return sendUntilEffective(
    api,
    {
      send: () => api.callOnce({ action, method: "POST", path: ["pin"], body }, signal),
      check: () => api.callOnce(pinsCall(api, action), signal),
      isDone: (found) => readPins(found).get(name) === storePath,
    },
    signal,
  );
}

const MAX_LIST_BYTES = 16 * 1024 * 1024;

/** Asks for the list of pins; {@link readPins} reads the answer. */
export function pinsCall(api: CachixApi, action: string = `list the pins of ${api.label}`): Call {
  return { action, method: "GET", path: ["pin"], maxBytes: MAX_LIST_BYTES };
}

function keepOf(keep: PinRequest["keep"]): object | null {
  if (keep === undefined) return null;
  if (keep === "forever") return { tag: "Forever" };
  return "days" in keep
    ? { tag: "Days", contents: keep.days }
    : { tag: "Revisions", contents: keep.revisions };
}
