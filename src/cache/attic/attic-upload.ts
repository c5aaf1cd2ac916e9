import { HandpickError } from "../../error.ts";
import type { PackedFile, Upload, UploadPart } from "../contract.ts";
import type { NarBody } from "./nar-body.ts";
import type { AtticApi } from "./attic-api.ts";

export interface AtticUploadOptions {
  readonly api: AtticApi;
  /** The upload as it follows "Cannot" in a message. */
  readonly action: string;
  readonly narSize: number;
  readonly body: NarBody;
  /** Called once nothing of the NAR is in memory any more. */
  readonly onEnd: () => void;
}

/** One path on its way: a single PUT, whose end makes the path visible. */
export class AtticUpload implements Upload {
  readonly #options: AtticUploadOptions;
  #sizeBytes = 0;
  #isEnded = false;

  constructor(options: AtticUploadOptions) {
    this.#options = options;
  }

  async putPart({ bytes }: UploadPart, signal: AbortSignal): Promise<void> {
    this.#sizeBytes += bytes.byteLength;
    if (this.#sizeBytes > this.#options.narSize) this.#assertWhole(this.#sizeBytes);
    await this.#options.body.put(bytes, signal);
  }

  async publish({ fileSize }: PackedFile, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { api, body } = this.#options;
    this.#assertWhole(fileSize);
    this.#assertWhole(this.#sizeBytes);
    this.#isEnded = true;
    try {
      api.assertSuccess(await body.finish(signal));
    } finally {
      await this.#end();
    }
  }

  async abort(): Promise<void> {
    if (this.#isEnded) return;
    this.#isEnded = true;
    await this.#end();
  }

  async #end(): Promise<void> {
    await this.#options.body.drop();
    this.#options.onEnd();
  }

  #assertWhole(sizeBytes: number): void {
    const { action, narSize } = this.#options;
    if (sizeBytes === narSize) return;
    throw new HandpickError(
      "UPLOAD_REJECTED",
      `Cannot ${action}: expected ${narSize} bytes, received ${sizeBytes}`,
    );
  }
}
