import { randomBytes, randomUUID } from "node:crypto";
import type { DatabaseSync } from "node:sqlite";

import type { FileCompression } from "./check-nar.ts";
import { refusal } from "./refusal.ts";

/** An upload that was begun here and not given up. */
export interface UploadRecord {
  readonly narId: string;
  readonly uploadId: string;
  readonly compression: FileCompression;
  /** True if its path was published. */
  readonly isDone: boolean;
}

/** A part that is here in full. */
export interface PartRecord {
  readonly narId: string;
  readonly number: number;
  /** Hexadecimal. */
  readonly md5: string;
  readonly sizeBytes: number;
}

/** Which uploads are under way and which of their parts have arrived. */
export class UploadTable {
  readonly #db: DatabaseSync;
  /** Prepared once, since every path of a push needs them: preparing one takes longer than running it. */
  readonly #statements: ReturnType<typeof prepare>;

  constructor(db: DatabaseSync) {
    this.#db = db;
    this.#statements = prepare(db);
  }

  /** An upload for {@link UploadTable.insert}, with identifiers that nobody can guess. */
  static newUpload(compression: FileCompression): UploadRecord {
    const narId = randomUUID();
    const uploadId = randomBytes(48).toString("base64url");
    return { narId, uploadId, compression, isDone: false };
  }

  insert({ narId, uploadId, compression }: UploadRecord, now: number): void {
    this.#statements.insert.run(narId, uploadId, compression, now);
  }

  /** @throws {HTTPException} 404 if there is no such upload. */
  get(narId: string, uploadId: string): UploadRecord {
    const row = this.#statements.get.get(narId, uploadId);
    if (row === undefined) throw refusal(404, "There is no such upload");
    const compression = row["compression"] === "xz" ? "xz" : "zst";
    return { narId, uploadId, compression, isDone: row["done"] === 1 };
  }

  /** The parts of an upload by their number. */
  parts(narId: string): Map<number, PartRecord> {
    const rows = this.#statements.parts.all(narId);
    return new Map(rows.map(toPart).map((part) => [part.number, part]));
  }

  part(narId: string, number: number): PartRecord | undefined {
    const row = this.#statements.part.get(narId, number);
    return row === undefined ? undefined : toPart(row);
  }

  allParts(): PartRecord[] {
    return this.#db.prepare("SELECT * FROM parts").all().map(toPart);
  }

  /** Records a part in place of what had its number, and that the upload is alive. */
  putPart({ narId, number, md5, sizeBytes }: PartRecord, now: number): void {
    this.#statements.putPart.run(narId, number, md5, sizeBytes);
    this.#statements.touch.run(now, narId);
  }

  /** Forgets the parts of an upload and remembers that it went well. */
  finish(narId: string): void {
    this.#statements.removeParts.run(narId);
    this.#statements.finish.run(narId);
  }

  remove(narId: string): void {
    this.#db.prepare("DELETE FROM uploads WHERE nar_id = ?").run(narId);
  }

  /** The uploads that nothing was heard of since `before`. */
  untouchedSince(before: number): string[] {
    const rows = this.#db.prepare("SELECT nar_id FROM uploads WHERE touched < ?").all(before);
    return rows.map((row) => String(row["nar_id"]));
  }
}

function prepare(db: DatabaseSync) {
  return {
    insert: db.prepare("INSERT INTO uploads VALUES (?, ?, ?, ?, 0)"),
    get: db.prepare("SELECT compression, done FROM uploads WHERE nar_id = ? AND upload_id = ?"),
    parts: db.prepare("SELECT * FROM parts WHERE nar_id = ?"),
    part: db.prepare("SELECT * FROM parts WHERE nar_id = ? AND number = ?"),
    putPart: db.prepare(
      "INSERT OR REPLACE INTO parts (nar_id, number, md5, size) VALUES (?, ?, ?, ?)",
    ),
    touch: db.prepare("UPDATE uploads SET touched = ? WHERE nar_id = ?"),
    removeParts: db.prepare("DELETE FROM parts WHERE nar_id = ?"),
    finish: db.prepare("UPDATE uploads SET done = 1 WHERE nar_id = ?"),
  };
}

function toPart(row: Record<string, unknown>): PartRecord {
  return {
    narId: String(row["nar_id"]),
    number: Number(row["number"]),
    md5: String(row["md5"]),
    sizeBytes: Number(row["size"]),
  };
}
