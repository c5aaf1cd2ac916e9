import { FormatError, quote } from "./format-error.ts";
import type { NarFile, NarVisitor } from "./nar-reader.ts";

/** A file, link or folder of a listing. */
export type NarListingNode =
  | {
      readonly type: "regular";
      readonly size: number;
      /** Present only if so. */
      readonly executable?: true;
      /** Where the contents begin in the uncompressed NAR. */
      readonly narOffset: number;
    }
  | { readonly type: "symlink"; readonly target: string }
  | { readonly type: "directory"; readonly entries: Readonly<Record<string, NarListingNode>> };

/** What a `.ls` file beside a narinfo holds as JSON. */
export interface NarListing {
  readonly version: 1;
  readonly root: NarListingNode;
}

/**
 * Notes what a NAR holds; hand it to a `NarReader`, then ask for the listing. A name or target that
 * is not UTF-8 fails the reader, because JSON has no way to say it.
 */
export class NarLister implements NarVisitor {
  readonly #folders: Record<string, NarListingNode>[] = [];
  #root: NarListingNode | undefined;
  #name = "";

  /** What was seen so far, everything once the reader is done; undefined before the root. */
  get listing(): NarListing | undefined {
    return this.#root === undefined ? undefined : { version: 1, root: this.#root };
  }

  entry(name: Uint8Array): void {
    this.#name = decode(name);
  }

  directoryStart(): void {
    // Without a prototype, so that an entry named __proto__ is an entry.
    const entries: Record<string, NarListingNode> = Object.create(null);
    this.#place({ type: "directory", entries });
    this.#folders.push(entries);
  }

  directoryEnd(): void {
    this.#folders.pop();
  }

  fileStart({ size, executable, narOffset }: NarFile): void {
    this.#place({ type: "regular", size, ...(executable && { executable }), narOffset });
  }

  symlink(target: Uint8Array): void {
    this.#place({ type: "symlink", target: decode(target) });
  }

  #place(node: NarListingNode): void {
    const folder = this.#folders.at(-1);
    if (folder === undefined) this.#root = node;
    else folder[this.#name] = node;
  }
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    const found = quote(Buffer.from(bytes).toString("latin1"));
    throw new FormatError("nar", `Cannot list NAR: ${found} is not UTF-8`, { cause });
  }
}
