import { randomUUID } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";

import { Assembly, type FileClaim } from "./assembly.ts";
import { partFileName } from "./part-files.ts";
import type { PartRecord, UploadRecord, UploadTable } from "./upload-table.ts";

/** Each may need as much memory as the window of a compressor, and doubles its upload on the disk. */
const MOST_AHEAD = 4;
const IDLE_MS = 60_000;
/** Nobody has said yet how long the NAR is. One that shrinks more has to wait until somebody does. */
const MOST_SHRUNK = 64;

export interface AssembliesOptions {
  readonly dirs: { readonly parts: string; readonly tmp: string };
  readonly table: UploadTable;
}

/** The end of an upload, as its client asks for it. */
export interface ClaimedParts {
  readonly parts: readonly PartRecord[];
  readonly claim: FileClaim;
  readonly signal: AbortSignal;
}

/**
 * Files of uploads, joined and unpacked while parts still arrive, so that little is left to do when the
 * client says that it has sent all. What fails here fails silently: then the file is made again, and the
 * client is told.
 */
export class Assemblies {
  readonly #options: AssembliesOptions;
  readonly #ahead = new Map<string, Ahead>();

  constructor(options: AssembliesOptions) {
    this.#options = options;
  }

  /** Goes on with an upload of which a part has arrived. */
  advance({ narId, compression }: Pick<UploadRecord, "narId" | "compression">): void {
    let ahead = this.#ahead.get(narId);
    if (ahead === undefined) {
      if (this.#ahead.size >= MOST_AHEAD) return;
      const assembly = Assembly.create(join(this.#options.dirs.tmp, randomUUID()), compression);
      ahead = new Ahead(assembly, (made) => this.#nextPart(narId, made));
      this.#ahead.set(narId, ahead);
    }
    ahead.advance(() => void this.drop(narId));
  }

  /**
   * Makes the file of an upload of all of its parts, and proves it. It is on disk when this settles.
   *
   * @returns Where it is.
   * @throws {HTTPException} 400 if anything is not as claimed.
   * @throws {FormatError} If the NAR is not well-formed.
   */
  async finish(
    { narId, compression }: Pick<UploadRecord, "narId" | "compression">,
    { parts, claim, signal }: ClaimedParts,
  ): Promise<string> {
    const { dirs } = this.#options;
    const begun = await this.#take(narId, parts, signal);
    const assembly = begun ?? (await Assembly.create(join(dirs.tmp, randomUUID()), compression));
    using _stop = assembly.stopOn(signal);
    try {
      for (const part of parts.slice(assembly.taken.length)) {
        signal.throwIfAborted();
        await assembly.add(part, join(dirs.parts, partFileName(part)), claim.narSize);
      }
      await assembly.finish(claim, signal);
    } catch (error) {
      await discard(assembly);
      throw error;
    }
    await assembly[Symbol.asyncDispose]();
    return assembly.file;
  }

  /** Gives up what was made of an upload. */
  async drop(narId: string): Promise<void> {
    const ahead = this.#ahead.get(narId);
    this.#ahead.delete(narId);
    await ahead?.drop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#ahead.keys().map((narId) => this.drop(narId)));
  }

  /** The file that was begun with these parts. */
  async #take(
    narId: string,
    parts: readonly PartRecord[],
    signal: AbortSignal,
  ): Promise<Assembly | undefined> {
    const ahead = this.#ahead.get(narId);
    this.#ahead.delete(narId);
    const assembly = await ahead?.take(signal);
    if (assembly === undefined) return undefined;
    const isBegun = assembly.taken.every(
      (part, index) => part.number === parts[index]?.number && part.md5 === parts[index].md5,
    );
    if (isBegun) return assembly;
    await discard(assembly);
    return undefined;
  }

  async #nextPart(narId: string, assembly: Assembly): Promise<boolean> {
    const { dirs, table } = this.#options;
    const part = table.part(narId, assembly.taken.length + 1);
    if (part === undefined) return false;
    const limit = MOST_SHRUNK * (assembly.sizeBytes + part.sizeBytes);
    await assembly.add(part, join(dirs.parts, partFileName(part)), limit);
    return true;
  }
}

/** Closes the file and removes it. */
async function discard(assembly: Assembly): Promise<void> {
  await assembly[Symbol.asyncDispose]();
  await rm(assembly.file, { force: true });
}

/** One file that is made ahead. */
class Ahead {
  readonly #addNext: (assembly: Assembly) => Promise<boolean>;
  /** As it was created. */
  readonly #created: Promise<Assembly | undefined>;
  /** With all parts in it that it was to get; undefined if it failed. */
  #assembly: Promise<Assembly | undefined>;
  #isGivenUp = false;
  #idle: NodeJS.Timeout | undefined;

  constructor(assembly: Promise<Assembly>, addNext: (assembly: Assembly) => Promise<boolean>) {
    this.#addNext = addNext;
    this.#created = assembly.catch(() => undefined);
    this.#assembly = this.#created;
  }

  /** Adds the parts that are here, after those before. */
  advance(onIdle: () => void): void {
    clearTimeout(this.#idle);
    this.#idle = setTimeout(onIdle, IDLE_MS).unref();
    this.#assembly = this.#assembly.then((assembly) => this.#addAll(assembly));
  }

  /** Settles once the parts that are here are in it. */
  async take(signal: AbortSignal): Promise<Assembly | undefined> {
    clearTimeout(this.#idle);
    using _stop = (await this.#created)?.stopOn(signal);
    return await this.#assembly;
  }

  async drop(): Promise<void> {
    this.#isGivenUp = true;
    clearTimeout(this.#idle);
    (await this.#created)?.stop(new Error("The upload is given up"));
    const assembly = await this.#assembly;
    if (assembly !== undefined) await discard(assembly);
  }

  async #addAll(assembly: Assembly | undefined): Promise<Assembly | undefined> {
    if (assembly === undefined) return undefined;
    try {
      while (!this.#isGivenUp && (await this.#addNext(assembly)));
      return assembly;
    } catch {
      await discard(assembly).catch(() => undefined);
      return undefined;
    }
  }
}
