import { randomUUID } from "node:crypto";
import { readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";

import { hashPartOf } from "../nix/store-path.ts";
import { syncDirectory } from "../files/write-whole.ts";
import type { Catalog } from "./catalog.ts";
import { checkNar, type FileCompression } from "./check-nar.ts";
import type { CompleteRequest } from "./complete-request.ts";
import type { KeyRing } from "./key-ring.ts";
import { KeyedLock } from "./keyed-lock.ts";
import { narInfoOf } from "./nar-info-of.ts";
import { eTagOf, joinParts, partFileName, writePart } from "./part-files.ts";
import { refusal } from "./refusal.ts";
import { Slots } from "./slots.ts";
import type { PartRecord, UploadRecord, UploadTable } from "./upload-table.ts";

/** How long an upload stays alive after its last sign of life. */
export const UPLOAD_LIFETIME_MS: number = 24 * 60 * 60 * 1000;

/** Checks at once: each may need as much memory as the window of a compressor. */
const CHECKS_AT_ONCE = 4;

export interface UploadsOptions {
  readonly dirs: { readonly nar: string; readonly parts: string; readonly tmp: string };
  readonly table: UploadTable;
  readonly catalog: Catalog;
  readonly keys: KeyRing;
}

/** A part on its way in. */
export interface IncomingPart {
  readonly number: number;
  /** Base64, as announced. */
  readonly md5: string;
  readonly body: AsyncIterable<Uint8Array>;
}

/**
 * NARs on their way in.
 *
 *     begin --> putPart* --> complete --> done, forgotten after a day
 *        \         |            |
 *         `--------+--> abort --+--> gone, as after a day without a sign of life
 *
 * Every file is written under a temporary name, and a name in the database stands for a file that
 * is whole. So a process killed at any point leaves files without a name, which the next start
 * removes, and clients go on where they were.
 */
export class Uploads {
  readonly #options: UploadsOptions;
  readonly #lock = new KeyedLock();
  readonly #checks = new Slots(CHECKS_AT_ONCE);

  constructor(options: UploadsOptions) {
    this.#options = options;
  }

  begin(compression: FileCompression, now: number): UploadRecord {
    return this.#options.table.create(compression, now);
  }

  /** @throws {HTTPException} 404 if there is no such upload. */
  get(narId: string, uploadId: string): UploadRecord {
    return this.#options.table.get(narId, uploadId);
  }

  /**
   * Takes one part in; one that was sent before is replaced.
   *
   * @returns The part's ETag, with its quotes.
   * @throws {HTTPException} 400 if the body does not have the announced MD5, 404 if the upload is
   *   over.
   */
  async putPart(upload: UploadRecord, part: IncomingPart, now: number): Promise<string> {
    const temporary = this.#temporaryFile();
    try {
      const { md5, sizeBytes } = await writePart(temporary, part.body);
      if (md5.toString("base64") !== part.md5) {
        throw refusal(400, "The part does not have the MD5 it was announced with");
      }
      const { narId } = upload;
      const record = { narId, number: part.number, md5: md5.toString("hex"), sizeBytes };
      await this.#lock.run(narId, () => this.#keepPart(temporary, { upload, record, now }));
      return eTagOf(record);
    } finally {
      await rm(temporary, { force: true });
    }
  }

  /**
   * Checks everything that is claimed of the parts and publishes their path. Done once, it is done
   * for every repetition. A path that was published meanwhile stays as it is.
   *
   * @throws {HTTPException} 400 if anything is not as claimed; the upload stays as it was.
   */
  async complete(
    upload: Pick<UploadRecord, "narId" | "uploadId">,
    request: CompleteRequest,
    signal: AbortSignal,
  ): Promise<void> {
    await this.#lock.run(upload.narId, async () => {
      const record = this.get(upload.narId, upload.uploadId);
      if (record.isDone) return;
      await this.#checks.run(() => this.#publish(record, request, signal));
    });
  }

  /** Gives an upload up; what is done stays. */
  async abort(upload: Pick<UploadRecord, "narId" | "uploadId">): Promise<void> {
    await this.#lock.run(upload.narId, async () => {
      if (!this.get(upload.narId, upload.uploadId).isDone) await this.#forget(upload.narId);
    });
  }

  /** Gives up what nothing was heard of for {@link UPLOAD_LIFETIME_MS}. */
  async sweep(now: number): Promise<void> {
    for (const narId of this.#options.table.untouchedSince(now - UPLOAD_LIFETIME_MS)) {
      await this.#lock.run(narId, () => this.#forget(narId));
    }
  }

  /** Removes the files that a killed process left without a name in the database. */
  async removeLeftovers(): Promise<void> {
    const { table, catalog, dirs } = this.#options;
    await removeOthers(dirs.tmp, new Set());
    await removeOthers(dirs.parts, new Set(table.allParts().map(partFileName)));
    await removeOthers(dirs.nar, catalog.files());
  }

  async #keepPart(
    temporary: string,
    part: { readonly upload: UploadRecord; readonly record: PartRecord; readonly now: number },
  ): Promise<void> {
    const { upload, record, now } = part;
    const { table, dirs } = this.#options;
    if (this.get(upload.narId, upload.uploadId).isDone) throw refusal(404, "The upload is over");
    const before = table.parts(upload.narId).get(record.number);
    await rename(temporary, join(dirs.parts, partFileName(record)));
    table.putPart(record, now);
    if (before !== undefined && before.md5 !== record.md5) {
      await this.#removeParts([before]);
    }
  }

  async #publish(
    upload: UploadRecord,
    request: CompleteRequest,
    signal: AbortSignal,
  ): Promise<void> {
    const { catalog, keys, table, dirs } = this.#options;
    const stored = table.parts(upload.narId);
    const files = matchParts(stored, request).map((part) => join(dirs.parts, partFileName(part)));
    const narInfo = narInfoOf(request, upload.compression, keys);
    const temporary = this.#temporaryFile();
    try {
      await joinParts(files, temporary, { claim: request, signal });
      await checkNar({ ...request, file: temporary, compression: upload.compression }, signal);
      if (!catalog.has(hashPartOf(request.storePath))) {
        await rename(temporary, join(dirs.nar, narInfo.file));
        await syncDirectory(dirs.nar);
      }
      catalog.add({ ...request, ...narInfo }, () => table.finish(upload.narId));
    } finally {
      await rm(temporary, { force: true });
    }
    await this.#removeParts(stored.values());
  }

  async #forget(narId: string): Promise<void> {
    const { table } = this.#options;
    const parts = [...table.parts(narId).values()];
    try {
      table.remove(narId);
      await this.#removeParts(parts);
    } catch {
      // On a full disk not even a row can be taken out before its files have made room.
      await this.#removeParts(parts);
      table.remove(narId);
    }
  }

  async #removeParts(parts: Iterable<PartRecord>): Promise<void> {
    for (const part of parts) {
      await rm(join(this.#options.dirs.parts, partFileName(part)), { force: true });
    }
  }

  #temporaryFile(): string {
    return join(this.#options.dirs.tmp, randomUUID());
  }
}

/** The stored parts that a client lists, in its order. */
function matchParts(
  stored: ReadonlyMap<number, PartRecord>,
  { parts, fileSize }: CompleteRequest,
): PartRecord[] {
  const matched = parts.map(({ partNumber, eTag }) => {
    const part = stored.get(partNumber);
    if (part === undefined) throw refusal(400, `Part ${partNumber} was not sent`);
    if (eTag !== eTagOf(part)) throw refusal(400, `Part ${partNumber} has another ETag`);
    return part;
  });
  const sizeBytes = matched.reduce((sum, part) => sum + part.sizeBytes, 0);
  if (sizeBytes !== fileSize) {
    throw refusal(400, `The parts have ${sizeBytes} bytes where cFileSize says ${fileSize}`);
  }
  return matched;
}

async function removeOthers(dir: string, known: ReadonlySet<string>): Promise<void> {
  for (const name of await readdir(dir)) {
    if (!known.has(name)) await rm(join(dir, name), { force: true });
  }
}
