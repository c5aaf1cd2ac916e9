import fs from "node:fs";

import {
  NAR_CLOSE,
  NAR_DIRECTORY_HEAD,
  NAR_MAGIC,
  narEntryHead,
  narFileHead,
  narFileTail,
  narSymlink,
} from "../nix/nar-encode.ts";
import type { NarVisitor } from "../nix/nar-reader.ts";
import {
  attempt,
  corrupt,
  kindOf,
  listDirectory,
  OPEN_FLAGS,
  type StoreEntry,
} from "./store-tree.ts";

interface Directory {
  readonly path: Buffer;
  readonly entries: readonly StoreEntry[];
  next: number;
}

interface OpenFile {
  readonly fd: number;
  readonly path: Buffer;
  readonly sizeBytes: number;
  remaining: number;
}

export interface NarSourceOptions {
  /**
   * Cut names at `~nix~case~hack~`, as Nix on macOS stores names that collide when case is ignored.
   *
   * @default {true on macOS}
   */
  readonly caseHack?: boolean;
  /** Told of every node, as a reader of the NAR would be, but for what files contain. */
  readonly visitor?: NarVisitor | undefined;
}

const SLASH = Buffer.from("/");
const NOTHING = Buffer.alloc(0);

/**
 * Reads a file tree as a NAR, synchronously and in pieces of the caller's size: it is meant for a
 * worker thread. Memory is bounded by the listing of the directories that are open.
 *
 *     read() fills from: pending tokens -> open file -> next entry of the innermost directory
 */
export class NarSource implements Disposable {
  readonly #root: string;
  readonly #caseHack: boolean;
  readonly #visitor: NarVisitor;
  readonly #directories: Directory[] = [];
  #pending: Readonly<Buffer> = NAR_MAGIC;
  #pendingOffset = 0;
  #file: OpenFile | undefined;
  #started = false;
  /** Where in the NAR the bytes begin that come after those of {@link #pending}. */
  #nextOffset = NAR_MAGIC.length;

  /** @param root File, folder or symlink to read. */
  constructor(root: string, options: NarSourceOptions = {}) {
    this.#root = root;
    this.#caseHack = options.caseHack ?? process.platform === "darwin";
    this.#visitor = options.visitor ?? {};
  }

  /**
   * Fills `target` with the next bytes; less than its length only at the end, then 0.
   *
   * @throws {HandpickError} `STORE_PATH_GONE`, `STORE_PATH_UNREADABLE`, `STORE_PATH_CORRUPT` or
   *   `OPEN_FILES_LIMIT`.
   */
  read(target: Uint8Array): number {
    let filled = 0;
    while (filled < target.length) {
      if (this.#pendingOffset < this.#pending.length) {
        filled += this.#copyPending(target, filled);
      } else if (this.#file !== undefined) {
        filled += this.#readFile(this.#file, target, filled);
      } else if (!this.#advance()) {
        break;
      }
    }
    return filled;
  }

  [Symbol.dispose](): void {
    if (this.#file !== undefined) fs.closeSync(this.#file.fd);
    this.#file = undefined;
  }

  #copyPending(target: Uint8Array, offset: number): number {
    const rest = this.#pending.subarray(this.#pendingOffset);
    const piece = rest.subarray(0, target.length - offset);
    target.set(piece, offset);
    this.#pendingOffset += piece.length;
    return piece.length;
  }

  #readFile(file: OpenFile, target: Uint8Array, offset: number): number {
    const wanted = Math.min(file.remaining, target.length - offset);
    const got =
      wanted === 0
        ? 0
        : attempt(file.path, () => fs.readSync(file.fd, target, offset, wanted, null));
    if (wanted > 0 && got === 0) {
      throw corrupt(
        file.path,
        `expected ${file.sizeBytes} bytes, found ${file.sizeBytes - file.remaining}`,
      );
    }
    file.remaining -= got;
    if (file.remaining === 0) {
      fs.closeSync(file.fd);
      this.#file = undefined;
      this.#visitor.fileEnd?.();
      this.#emit(
        this.#directories.length === 0 ? narFileTail(file.sizeBytes) : closeEntry(file.sizeBytes),
      );
    }
    return got;
  }

  /** Moves to the next node; false at the end of the archive. */
  #advance(): boolean {
    if (!this.#started) {
      this.#started = true;
      const root = Buffer.from(this.#root);
      this.#open(NOTHING, root, kindOf(attempt(root, () => fs.lstatSync(root))));
      return true;
    }
    const directory = this.#directories.at(-1);
    if (directory === undefined) return false;
    const entry = directory.entries[directory.next];
    directory.next += 1;
    if (entry === undefined) {
      this.#directories.pop();
      this.#visitor.directoryEnd?.();
      this.#emit(this.#directories.length === 0 ? NAR_CLOSE : CLOSE_TWICE);
    } else {
      const fileName = Buffer.from(entry.fileName, "latin1");
      const narName = Buffer.from(entry.narName, "latin1");
      this.#visitor.entry?.(narName);
      const file = Buffer.concat([directory.path, SLASH, fileName]);
      this.#open(narEntryHead(narName), file, entry.kind);
    }
    return true;
  }

  #open(head: Buffer, path: Buffer, kind: StoreEntry["kind"]): void {
    switch (kind) {
      case "directory":
        this.#visitor.directoryStart?.();
        this.#emit(Buffer.concat([head, NAR_DIRECTORY_HEAD]));
        this.#directories.push({ path, entries: listDirectory(path, this.#caseHack), next: 0 });
        return;
      case "symlink": {
        const target = attempt(path, () => fs.readlinkSync(path, { encoding: "buffer" }));
        this.#visitor.symlink?.(target);
        const close = head.length === 0 ? NOTHING : NAR_CLOSE;
        this.#emit(Buffer.concat([head, narSymlink(target), close]));
        return;
      }
      case "file":
        this.#openFile(head, path);
        return;
      case "other":
        throw corrupt(path, "expected a regular file, a folder or a symlink, found a special file");
    }
  }

  #openFile(head: Buffer, path: Buffer): void {
    const fd = attempt(path, () => fs.openSync(path, OPEN_FLAGS));
    const stat = fs.fstatSync(fd);
    if (!stat.isFile()) {
      fs.closeSync(fd);
      throw corrupt(path, "expected a regular file, found something else in its place");
    }
    this.#file = { fd, path, sizeBytes: stat.size, remaining: stat.size };
    const executable = (stat.mode & 0o100) !== 0;
    this.#emit(Buffer.concat([head, narFileHead(stat.size, executable)]));
    this.#visitor.fileStart?.({ size: stat.size, executable, narOffset: this.#nextOffset });
    this.#nextOffset += stat.size;
  }

  #emit(tokens: Readonly<Buffer>): void {
    this.#pending = tokens;
    this.#pendingOffset = 0;
    this.#nextOffset += tokens.length;
  }
}

const CLOSE_TWICE = Buffer.concat([NAR_CLOSE, NAR_CLOSE]);

function closeEntry(sizeBytes: number): Buffer {
  return Buffer.concat([narFileTail(sizeBytes), NAR_CLOSE]);
}
