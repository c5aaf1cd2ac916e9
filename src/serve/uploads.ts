import { randomUUID } from "node:crypto";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";

import { hashPartOf } from "../nix/store-path.ts";
import { Assemblies } from "./assemblies.ts";
import type { Catalog } from "./catalog.ts";
import type { FileCompression } from "./check-nar.ts";
import type { Commits } from "./commits.ts";
import type { CompleteRequest } from "./complete-request.ts";
import type { KeyRing } from "./key-ring.ts";
import { KeyedLock } from "./keyed-lock.ts";
import { narInfoOf } from "./nar-info-of.ts";
import { NarFolder } from "./nar-folder.ts";
import { eTagOf, keepPart, matchParts, partFileName, removeParts } from "./part-files.ts";
import { receivePart } from "./receive-part.ts";
import { refusal } from "./refusal.ts";
import type { TakeChunk } from "./request-body.ts";
import { isSmallNar, makeSmallNar } from "./small-nar.ts";
import { Slots } from "./slots.ts";
import { type PartRecord, type UploadRecord, UploadTable } from "./upload-table.ts";

/** How long an upload stays alive after its last sign of life. */
export const UPLOAD_LIFETIME_MS: number = 24 * 60 * 60 * 1000;

/** Checks at once: each may need as much memory as the window of a compressor. */
const CHECKS_AT_ONCE = 4;

export interface UploadsOptions {
  readonly dirs: { readonly nar: string; readonly parts: string; readonly tmp: string };
  readonly table: UploadTable;
  readonly catalog: Catalog;
  readonly commits: Commits;
  readonly keys: KeyRing;
}

/** A part on its way in. */
export interface IncomingPart {
  readonly number: number;
  /** Base64, as announced. */
  readonly md5: string;
  readonly read: (take: TakeChunk) => Promise<void>;
}

interface KeptPart {
  readonly upload: UploadRecord;
  readonly record: PartRecord;
  /** The bytes, or the file that has them. */
  readonly source: Buffer | string;
  readonly now: number;
}

interface ProvenParts {
  readonly upload: UploadRecord;
  readonly request: CompleteRequest;
  readonly parts: readonly PartRecord[];
  readonly signal: AbortSignal;
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
export class Uploads implements AsyncDisposable {
  readonly #options: UploadsOptions;
  readonly #lock = new KeyedLock();
  readonly #checks = new Slots(CHECKS_AT_ONCE);
  readonly #assemblies: Assemblies;
  readonly #nars: NarFolder;

  constructor(options: UploadsOptions) {
    this.#options = options;
    this.#assemblies = new Assemblies(options);
    this.#nars = new NarFolder(options.dirs.nar);
  }

  async begin(compression: FileCompression, now: number): Promise<UploadRecord> {
    const upload = UploadTable.newUpload(compression);
    await this.#options.commits.run(() => this.#options.table.insert(upload, now));
    return upload;
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
    const file = this.#temporaryFile();
    let isInFile = true;
    try {
      const received = await receivePart(file, part.read);
      isInFile = received.bytes === undefined;
      if (received.md5.toString("base64") !== part.md5) {
        throw refusal(400, "The part does not have the MD5 it was announced with");
      }
      const { narId } = upload;
      const { bytes, sizeBytes } = received;
      const record = { narId, number: part.number, md5: received.md5.toString("hex"), sizeBytes };
      const kept = { upload, record, source: bytes ?? file, now };
      await this.#lock.run(narId, () => this.#keepPart(kept));
      return eTagOf(record);
    } finally {
      if (isInFile) await rm(file, { force: true });
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
      await this.#publish(record, request, signal);
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

  /** Gives up the files that are being made, and closes the folder. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#assemblies[Symbol.asyncDispose]();
    await this.#nars[Symbol.asyncDispose]();
  }

  /** Removes the files that a killed process left without a name in the database. */
  async removeLeftovers(): Promise<void> {
    const { table, catalog, dirs } = this.#options;
    await removeOthers(dirs.tmp, new Set());
    await removeOthers(dirs.parts, new Set(table.allParts().map(partFileName)));
    await removeOthers(dirs.nar, catalog.files());
  }

  async #keepPart({ upload, record, source, now }: KeptPart): Promise<void> {
    const { table, commits, dirs } = this.#options;
    if (this.get(upload.narId, upload.uploadId).isDone) throw refusal(404, "The upload is over");
    const before = table.part(upload.narId, record.number);
    const isNew = before?.md5 !== record.md5;
    await keepPart(dirs, record, { source, isNew });
    await commits.run(() => table.putPart(record, now));
    if (before !== undefined && isNew) await removeParts(dirs, [before]);
    if (typeof source === "string") this.#assemblies.advance(upload);
  }

  async #publish(
    upload: UploadRecord,
    request: CompleteRequest,
    signal: AbortSignal,
  ): Promise<void> {
    const { catalog, keys, table, dirs } = this.#options;
    const stored = table.parts(upload.narId);
    const parts = matchParts(stored, request);
    const narInfo = narInfoOf(request, upload.compression, keys);
    const file = await this.#makeFile({ upload, request, parts, signal });
    let isTemporary = true;
    try {
      if (!catalog.has(hashPartOf(request.storePath))) {
        await this.#nars.keep(file, narInfo.file);
        isTemporary = false;
      }
      await catalog.add({ ...request, ...narInfo }, () => table.finish(upload.narId));
    } finally {
      if (isTemporary) await rm(file, { force: true });
    }
    await removeParts(dirs, stored.values());
  }

  /** Makes the file of an upload of its parts, and proves it. It is on disk and has no name yet. */
  async #makeFile({ upload, request, parts, signal }: ProvenParts): Promise<string> {
    const [part] = parts;
    if (part === undefined || !isSmallNar(upload.compression, parts, request)) {
      const proof = { parts, claim: request, signal };
      return await this.#checks.run(() => this.#assemblies.finish(upload, proof));
    }
    const file = this.#temporaryFile();
    await makeSmallNar(join(this.#options.dirs.parts, partFileName(part)), file, request);
    return file;
  }

  async #forget(narId: string): Promise<void> {
    const { table, commits, dirs } = this.#options;
    const parts = [...table.parts(narId).values()];
    await this.#assemblies.drop(narId);
    try {
      await commits.run(() => table.remove(narId));
      await removeParts(dirs, parts);
    } catch {
      // On a full disk not even a row can be taken out before its files have made room.
      await removeParts(dirs, parts);
      await commits.run(() => table.remove(narId));
    }
  }

  #temporaryFile(): string {
    return join(this.#options.dirs.tmp, randomUUID());
  }
}

async function removeOthers(dir: string, known: ReadonlySet<string>): Promise<void> {
  for (const name of await readdir(dir)) {
    if (!known.has(name)) await rm(join(dir, name), { force: true });
  }
}
