import { FormatError } from "../../nix/format-error.ts";
import { type NarInfo, parseNarInfo } from "../../nix/narinfo.ts";
import { storeDirOf } from "../../nix/store-path.ts";
import type { ObjectRequest, ObjectStore, StoredObject } from "./object-store.ts";

export interface PutNarInfoOptions {
  readonly objects: ObjectStore;
  /** The narinfo as a record. */
  readonly narInfo: NarInfo;
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
  { objects, narInfo, request }: PutNarInfoOptions,
): Promise<boolean> {
  if (objects.putUnless === undefined) {
    await objects.put(object, request);
    return true;
  }
  let isOurs = false;
  const isEnough = async (bytes: Buffer): Promise<boolean> => {
    const found = parsed(bytes, storeDirOf(narInfo.storePath));
    if (found === undefined || !saysAll(found, narInfo)) return false;
    // Ours may be there after an answer that was lost.
    isOurs = found.url === narInfo.url;
    if (isOurs) return true;
    const size = await objects.sizeOf(found.url, request);
    return size !== undefined && size === found.fileSize;
  };
  return (await objects.putUnless(object, isEnough, request)) || isOurs;
}

function parsed(bytes: Buffer, storeDir: string): NarInfo | undefined {
  try {
    return parseNarInfo(bytes.toString(), { storeDir });
  } catch (error) {
    if (error instanceof FormatError) return undefined;
    throw error;
  }
}

function saysAll(found: NarInfo, ours: NarInfo): boolean {
  const isSame =
    found.storePath === ours.storePath &&
    found.narHash === ours.narHash &&
    found.narSize === ours.narSize &&
    found.ca === ours.ca;
  const references = new Set(found.references);
  return (
    isSame &&
    references.size === new Set(ours.references).size &&
    ours.references.every((reference) => references.has(reference)) &&
    ours.signatures.every((signature) => found.signatures.includes(signature))
  );
}
