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

  constructor(db: DatabaseSync) {
    this.#db = db;
  }

  create(compression: FileCompression, now: number): UploadRecord {
    const narId = randomUUID();
    const uploadId = randomBytes(48).toString("base64url");
    this.#db
      .prepare("INSERT INTO uploads VALUES (?, ?, ?, ?, 0)")
      .run(narId, uploadId, compression, now);
    return { narId, uploadId, compression, isDone: false };
  }

  /** @throws {HTTPException} 404 if there is no such upload. */
  get(narId: string, uploadId: string): UploadRecord {
    const row = this.#db
      .prepare("SELECT compression, done FROM uploads WHERE nar_id = ? AND upload_id = ?")
      .get(narId, uploadId);
    if (row === undefined) throw refusal(404, "There is no such upload");
    const compression = row["compression"] === "xz" ? "xz" : "zst";
    return { narId, uploadId, compression, isDone: row["done"] === 1 };
  }

  /** The parts of an upload by their number. */
  parts(narId: string): Map<number, PartRecord> {
    const rows = this.#db.prepare("SELECT * FROM parts WHERE nar_id = ?").all(narId);
    return new Map(rows.map(toPart).map((part) => [part.number, part]));
  }

  allParts(): PartRecord[] {
    return this.#db.prepare("SELECT * FROM parts").all().map(toPart);
  }

  /** Records a part in place of what had its number, and that the upload is alive. */
  putPart({ narId, number, md5, sizeBytes }: PartRecord, now: number): void {
    this.#db
      .prepare("INSERT OR REPLACE INTO parts (nar_id, number, md5, size) VALUES (?, ?, ?, ?)")
      .run(narId, number, md5, sizeBytes);
    this.#db.prepare("UPDATE uploads SET touched = ? WHERE nar_id = ?").run(now, narId);
  }

  /** Forgets the parts of an upload and remembers that it went well. */
  finish(narId: string): void {
    this.#db.prepare("DELETE FROM parts WHERE nar_id = ?").run(narId);
    this.#db.prepare("UPDATE uploads SET done = 1 WHERE nar_id = ?").run(narId);
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

function toPart(row: Record<string, unknown>): PartRecord {
  return {
    narId: String(row["nar_id"]),
    number: Number(row["number"]),
    md5: String(row["md5"]),
    sizeBytes: Number(row["size"]),
  };
}
