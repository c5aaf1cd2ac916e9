import type { NarFile, NarVisitor } from "./nar-reader.ts";

/** A listing as text, or the reason why there is none, to be said after "because". */
export type Listing = { readonly text: string } | { readonly fault: string };

/** In bytes; 200 000 files with names as usual have some 20 MB. */
const LONGEST_LISTING = 32 << 20;
const HEAD = '{"version":1,"root":';
const TAIL = "}";

/**
 * Makes the listing of a NAR, as caches have it in `HASH.ls`: names, sizes and places of its files in
 * JSON. Its events come in the order of the NAR, from whatever reads or writes that.
 */
export class NarListing implements NarVisitor {
  readonly #longest: number;
  readonly #utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  readonly #pieces: string[] = [HEAD];
  /** For each open folder, whether it has an entry yet. */
  readonly #folders: boolean[] = [];
  #bytes = HEAD.length + TAIL.length;
  #fault: string | undefined;

  /** @param longest The bytes that the text may have. @default longest {32 MiB} */
  constructor(longest: number = LONGEST_LISTING) {
    this.#longest = longest;
  }

  /** The listing, once the NAR has ended. */
  get listing(): Listing {
    return this.#fault === undefined
      ? { text: `${this.#pieces.join("")}${TAIL}` }
      : { fault: this.#fault };
  }

  directoryStart(): void {
    this.#folders.push(false);
    this.#add('{"type":"directory","entries":{');
  }

  directoryEnd(): void {
    this.#folders.pop();
    this.#add("}}");
  }

  entry(name: Uint8Array): void {
    const comma = this.#folders.pop() === true ? "," : "";
    this.#folders.push(true);
    this.#add(`${comma}${this.#quoted(name)}:`);
  }

  fileStart({ size, executable, narOffset }: NarFile): void {
    const flag = executable ? '"executable":true,' : "";
    this.#add(`{"type":"regular","size":${size},${flag}"narOffset":${narOffset}}`);
  }

  symlink(target: Uint8Array): void {
    this.#add(`{"type":"symlink","target":${this.#quoted(target)}}`);
  }

  #quoted(bytes: Uint8Array): string {
    try {
      return JSON.stringify(this.#utf8.decode(bytes));
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      this.#fail("a name in it is not UTF-8");
      return "";
    }
  }

  #add(piece: string): void {
    if (this.#fault !== undefined) return;
    this.#bytes += Buffer.byteLength(piece);
    if (this.#bytes <= this.#longest) this.#pieces.push(piece);
    else this.#fail(`it would have more than ${this.#longest} bytes`);
  }

  #fail(fault: string): void {
    this.#fault = fault;
    this.#pieces.length = 0;
  }
}
