import type { FileHandle } from "node:fs/promises";

import { HandpickError } from "../../error.ts";
import { threadCalls } from "../../files/file-calls.ts";
import { isOutOfFiles, OPEN_FILES_HINT } from "../../files/open-files.ts";
import { systemCode } from "../../files/system-code.ts";
import { openUnnamed, temporaryFolder } from "../../files/unnamed-file.ts";
import type { StreamBody } from "../../http/http-message.ts";
import { orAborted } from "../../or-aborted.ts";
import type { PackedFile, UploadPart } from "../contract.ts";
import type { LargeName, LargeObject, ObjectRequest } from "../layout/object-store.ts";

const CHUNK_BYTES = 1 << 18;

/** A file that is whole, and goes to the server in one request. */
export interface WholeFile {
  /** Below the root. */
  readonly name: string;
  readonly contentType: string;
  readonly sizeBytes: number;
  /** True if a file that has the name already cannot be used. */
  readonly replaces: boolean;
  /** Reads it from the start, as often as it takes. */
  readonly body: StreamBody;
}

export interface StagedNarOptions {
  readonly name: LargeName;
  readonly send: (file: WholeFile, request: ObjectRequest) => Promise<void>;
  /** Told once when nothing of it is on disk any more. */
  readonly onClosed: () => void;
  /** The folder for the file. @default {that for temporary files} */
  readonly dir?: string | undefined;
}

/**
 * A NAR whose parts wait in a file until all are there, since its name needs the hash of the whole, and servers
 * want its length at the start:
 *
 *     parts --> file without a name --> nar/FILEHASH.nar.zst
 *
 * It is sent as soon as it is whole, whatever its references wait for: so the disk has few of them at once.
 */
export class StagedNar implements LargeObject {
  readonly #options: StagedNarOptions;
  readonly #stop = new AbortController();
  #file: Promise<FileHandle> | undefined;
  #storedBytes = 0;
  /** Known with the last part. */
  #whole: PackedFile | undefined;
  #sending: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: StagedNarOptions) {
    this.#options = options;
  }

  async put(part: UploadPart, request: ObjectRequest): Promise<void> {
    request.signal.throwIfAborted();
    const { bytes, offset, fileHash } = part;
    await this.#onDisk(request.action, async () =>
      threadCalls.writeAll((await this.#open()).fd, bytes, offset),
    );
    this.#storedBytes += bytes.length;
    if (fileHash !== undefined) this.#whole = { fileHash, fileSize: offset + bytes.length };
    if (this.#whole?.fileSize !== this.#storedBytes) return;
    this.#sending = this.#send(this.#whole, request.action);
    // Told by `finish`.
    this.#sending.catch(() => undefined);
  }

  async finish(file: PackedFile, { action, signal }: ObjectRequest): Promise<string> {
    if (this.#sending === undefined || this.#whole?.fileHash !== file.fileHash) {
      throw new HandpickError(
        "UPLOAD_REJECTED",
        `Cannot ${action}: expected ${file.fileSize} bytes, received ${this.#storedBytes}`,
      );
    }
    await orAborted(this.#sending, signal);
    return this.#options.name.of(file);
  }

  async abort(): Promise<void> {
    this.#stop.abort(new Error("The upload was given up"));
    await this.#sending?.catch(() => undefined);
    await this.#close();
  }

  async #send(file: PackedFile, action: string): Promise<void> {
    const { name, send } = this.#options;
    const sizeBytes = file.fileSize;
    const body = { sizeBytes, open: () => this.#read(sizeBytes, action) };
    const { contentType, replaces } = name;
    const whole = { name: name.of(file), contentType, sizeBytes, replaces, body };
    try {
      await send(whole, { action, signal: this.#stop.signal });
    } finally {
      await this.#close();
    }
  }

  async *#read(sizeBytes: number, action: string): AsyncIterable<Uint8Array> {
    const file = await this.#open();
    const chunk = new Uint8Array(Math.min(CHUNK_BYTES, sizeBytes));
    for (let offset = 0; offset < sizeBytes;) {
      const length = Math.min(chunk.length, sizeBytes - offset);
      const { bytesRead } = await this.#onDisk(action, () => file.read(chunk, 0, length, offset));
      if (bytesRead === 0) throw this.#unusable(action, "the disk does not give it back");
      yield chunk.subarray(0, bytesRead);
      offset += bytesRead;
    }
  }

  #open(): Promise<FileHandle> {
    this.#file ??= openUnnamed(this.#dir);
    return this.#file;
  }

  get #dir(): string {
    return this.#options.dir ?? temporaryFolder();
  }

  #close(): Promise<void> {
    this.#closing ??= (async () => {
      const file = await this.#file?.catch(() => undefined);
      await file?.close().catch(() => undefined); // nobody needs its bytes any more
      this.#options.onClosed();
    })();
    return this.#closing;
  }

  async #onDisk<T>(action: string, task: () => Promise<T>): Promise<T> {
    try {
      return await task();
    } catch (error) {
      if (systemCode(error) === undefined) throw error;
      throw this.#unusable(action, error);
    }
  }

  #unusable(action: string, found: unknown): HandpickError {
    if (isOutOfFiles(found)) {
      const text = "this process may open no more files";
      const options = { cause: found, hint: OPEN_FILES_HINT };
      return new HandpickError("OPEN_FILES_LIMIT", `Cannot ${action}: ${text}`, options);
    }
    return new HandpickError(
      "FILE_UNUSABLE",
      `Cannot ${action}: it waits in ${this.#dir} until it is whole, and ${reasonOf(found)}`,
      { cause: found, hint: "Make room there, or name another folder in TMPDIR." },
    );
  }
}

const FULL: Readonly<Record<string, string>> = {
  ENOSPC: "the disk is full",
  EDQUOT: "the quota of disk space is used up",
};

function reasonOf(found: unknown): string {
  const known = FULL[systemCode(found) ?? ""];
  return known ?? (found instanceof Error ? found.message : String(found));
}
