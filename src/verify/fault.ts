import type { StorePath } from "../nix/store-path.ts";

/** Stable codes for why readers cannot get a path; each is explained in `docs/verify.md`. */
export type FaultCode =
  | "missing" // no narinfo
  | "damaged" // something else is in the place of the narinfo
  | "unsigned" // no signature, and no content address
  | "untrusted" // no signature that verifies by a key that readers have
  | "no-cache-info" // the server has no nix-cache-info, so Nix asks it for nothing
  | "nar-missing" // its NAR is not there
  | "nar-size" // its NAR has another size than the narinfo says
  | "nar-damaged" // its NAR was read, and is not what the narinfo says
  | "unanswered"; // a server that may have it gives no answer

/** Why one server does not serve a path. */
export interface Fault {
  readonly code: FaultCode;
  /** URL of the server. */
  readonly server: string;
  /** More, for people; absent where the code says all. */
  readonly detail?: string;
}

/** A path that readers cannot get, and why: a fault for each server that was asked. */
export interface Hole {
  readonly path: StorePath;
  readonly faults: readonly Fault[];
}

const TEXTS: Readonly<Record<FaultCode, string>> = {
  missing: "is not there",
  damaged: "has something else in the place of its narinfo",
  unsigned: "has no signature",
  untrusted: "has no signature by a key that readers trust",
  "no-cache-info": "is there, but Nix asks for nothing where there is no nix-cache-info",
  "nar-missing": "has a narinfo, but its NAR is not there",
  "nar-size": "has a NAR of another size than its narinfo says",
  "nar-damaged": "has a NAR that is not what its narinfo says",
  unanswered: "may be there: no answer",
};

/** Says a fault for people, to follow the name of the path. */
export function faultText({ code, detail }: Pick<Fault, "code" | "detail">): string {
  return detail === undefined ? TEXTS[code] : `${TEXTS[code]}: ${detail}`;
}

/** The fault that says most of a hole: what is there and wrong comes before what is not there. */
export function mainFault(faults: readonly Fault[]): Fault | undefined {
  return faults.find(({ code }) => code !== "missing") ?? faults[0];
}
