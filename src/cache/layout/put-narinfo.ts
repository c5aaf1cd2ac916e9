import type { NarInfo } from "../../nix/narinfo.ts";
import { fingerprint } from "../../nix/signature.ts";
import { storeDirOf } from "../../nix/store-path.ts";
import { isConsistent, tryParseNarInfo } from "../found-narinfos.ts";
import type { ObjectRequest, ObjectStore, StoredObject } from "./object-store.ts";

export interface PutNarInfoOptions {
  readonly objects: ObjectStore;
  /** The narinfo as a record. */
  readonly narInfo: NarInfo;
  /** True if a NAR that another narinfo names cannot be used. */
  readonly replaces: boolean;
  readonly request: ObjectRequest;
}

/**
 * Puts a narinfo, in place of an older one unless that says all that ours does: another machine may have
 * published the same path meanwhile, and readers may be fetching the NAR that it names.
 *
 * @returns True if readers have one that names our NAR.
 */
export async function putNarInfo(
  object: StoredObject,
  { objects, narInfo, replaces, request }: PutNarInfoOptions,
): Promise<boolean> {
  if (objects.putUnless === undefined) {
    await objects.put(object, request);
    return true;
  }
  let isOurs = false;
  const isEnough = async (bytes: Buffer): Promise<boolean> => {
    const found = tryParseNarInfo(bytes.toString(), storeDirOf(narInfo.storePath));
    if (found === undefined || !saysAll(found, narInfo) || !isConsistent(found)) return false;
    // Ours may be there after an answer that was lost.
    isOurs = found.url === narInfo.url;
    if (isOurs) return found.fileSize === narInfo.fileSize;
    if (replaces) return false;
    const size = await objects.sizeOf(found.url, request);
    return size !== undefined && size === found.fileSize;
  };
  return (await objects.putUnless(object, isEnough, request)) || isOurs;
}

function saysAll(found: NarInfo, ours: NarInfo): boolean {
  return (
    fingerprint(found) === fingerprint(ours) &&
    found.ca === ours.ca &&
    ours.signatures.every((signature) => found.signatures.includes(signature))
  );
}
