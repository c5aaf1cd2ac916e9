import { HandpickError } from "../../error.ts";
import { printNarInfo } from "../../nix/narinfo.ts";
import { hashPartOf, nameOf } from "../../nix/store-path.ts";
import { narInfoName, narInfoOf } from "../binary-cache.ts";
import type { PackedFile, Upload, UploadPart, UploadRequest } from "../contract.ts";
import type { CacheFolder } from "./cache-folder.ts";
import { NAR_DIR } from "./cache-folder.ts";
import { fileError } from "./file-error.ts";
import type { FolderCommits } from "./folder-commits.ts";
import type { PartialFile } from "./partial-files.ts";

/** Where files get their names. */
export interface Commits {
  readonly nars: FolderCommits;
  readonly narInfos: FolderCommits;
}

export interface FileUploadOptions {
  /** The cache, for messages. */
  readonly label: string;
  readonly folder: CacheFolder;
  readonly commits: Commits;
  readonly request: UploadRequest;
}

/**
 * One NAR on its way into a folder. Each arrow waits for the disk:
 *
 *     nar/.partial/… --> nar/FILEHASH.nar.zst --\
 *                                                >--> HASH.narinfo
 *     .partial/… -------------------------------/
 *
 * So a narinfo that survives a power cut has its NAR, and its references too, for it is published after
 * them.
 */
export class FileUpload implements Upload {
  readonly #options: FileUploadOptions;
  readonly #nar: PartialFile;
  readonly #narInfo: PartialFile;
  #isPublished = false;

  constructor(options: FileUploadOptions) {
    const { folder, request } = options;
    const hashPart = hashPartOf(request.info.path);
    this.#options = options;
    this.#nar = folder.nars.create(hashPart);
    this.#narInfo = folder.narInfos.create(hashPart);
  }

  /** Does not settle before the bytes are used: their memory is lent. */
  async putPart({ bytes, offset }: UploadPart, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    await this.#explained(() => this.#nar.write(bytes, offset));
  }

  async publish(file: PackedFile, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.#assertWhole(file);
    const { request, commits } = this.#options;
    const narInfo = narInfoOf(request, file);
    await this.#explained(async () => {
      const results = await Promise.allSettled([
        this.#nameNar(narInfo.url),
        this.#writeNarInfo(printNarInfo(narInfo)),
      ]);
      for (const result of results) if (result.status === "rejected") throw result.reason;
      signal.throwIfAborted();
      const name = narInfoName(hashPartOf(request.info.path));
      await commits.narInfos.rename(this.#narInfo.path, name);
    });
    this.#isPublished = true;
  }

  /** Leaves a NAR that has its name already: others may have published the same. */
  async abort(): Promise<void> {
    if (this.#isPublished) return;
    await Promise.allSettled([this.#nar.remove(), this.#narInfo.remove()]);
  }

  async #nameNar(url: string): Promise<void> {
    await this.#nar.finish();
    await this.#options.commits.nars.rename(this.#nar.path, url.slice(`${NAR_DIR}/`.length));
  }

  async #writeNarInfo(text: string): Promise<void> {
    await this.#narInfo.write(Buffer.from(text), 0);
    await this.#narInfo.finish();
  }

  #assertWhole({ fileSize }: PackedFile): void {
    const { sizeBytes } = this.#nar;
    if (sizeBytes === fileSize) return;
    throw new HandpickError(
      "UPLOAD_REJECTED",
      `Cannot ${this.#action}: expected ${fileSize} bytes, received ${sizeBytes}`,
    );
  }

  get #action(): string {
    const { label, request } = this.#options;
    return `write ${JSON.stringify(nameOf(request.info.path))} to ${label}`;
  }

  async #explained(task: () => Promise<void>): Promise<void> {
    try {
      await task();
    } catch (error) {
      throw await fileError(error, { action: this.#action, dir: this.#options.folder.nars.dir });
    }
  }
}
