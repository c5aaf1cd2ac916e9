import type { DatabaseSync, SQLOutputValue } from "node:sqlite";

import type { PathInfo } from "../nix/path-info.ts";
import type { StorePath } from "../nix/store-path.ts";
import { type PathRecord, pathInfoReader, toStorePath } from "./path-record.ts";

type Row = Record<string, SQLOutputValue>;

const THESE = `with chosen(id) as
  (select id from ValidPaths where path in (select value from json_each(?)))`;

const REACHABLE = `with recursive chosen(id) as
  (select id from ValidPaths where path in (select value from json_each(?))
   union select reference from Refs join chosen on referrer = chosen.id)`;

/** The records of those of `paths` that are valid. */
export function selectPathInfos(
  connection: DatabaseSync,
  paths: readonly StorePath[],
  storeDir: string,
): Map<StorePath, PathInfo> {
  return selectInfos(connection, { chosen: THESE, paths, storeDir });
}

/** The records of all that is reachable from those of `roots` that are valid. */
export function selectClosure(
  connection: DatabaseSync,
  roots: readonly StorePath[],
  storeDir: string,
): Map<StorePath, PathInfo> {
  return selectInfos(connection, { chosen: REACHABLE, paths: roots, storeDir });
}

/** The subset of `paths` that is valid. */
export function selectValid(
  connection: DatabaseSync,
  paths: readonly StorePath[],
  storeDir: string,
): Set<StorePath> {
  const rows = connection
    .prepare("select path from ValidPaths where path in (select value from json_each(?))")
    .iterate(JSON.stringify(paths));
  return new Set(rows.map((row) => toStorePath(textOf(row["path"]), storeDir)));
}

/** The valid paths that were built of outputs with these hashes, by output name. */
export function selectRealised(
  connection: DatabaseSync,
  hashes: ReadonlyMap<string, string>,
  storeDir: string,
): Map<string, StorePath> {
  const statement = connection.prepare(
    `select path from Realisations join ValidPaths on ValidPaths.id = outputPath
     where drvPath = ? and outputName = ? order by Realisations.id desc limit 1`,
  );
  const found = new Map<string, StorePath>();
  for (const [name, hash] of hashes) {
    const row = statement.get(`sha256:${hash}`, name);
    if (row !== undefined) found.set(name, toStorePath(textOf(row["path"]), storeDir));
  }
  return found;
}

/** Returns true if Nix ever built content-addressed derivations here. */
export function hasRealisations(connection: DatabaseSync): boolean {
  const tables = "select 1 from sqlite_master where type = 'table' and name = 'Realisations'";
  return connection.prepare(tables).get() !== undefined;
}

/** Paths registered after `mark`, oldest first, and the mark of now. */
export function selectNew(
  connection: DatabaseSync,
  mark: number | undefined,
  storeDir: string,
): { readonly mark: number; readonly paths: StorePath[] } {
  // Not max(id), which falls when the newest rows are collected.
  const row = connection.prepare("select seq from sqlite_sequence where name = 'ValidPaths'").get();
  const now = numberOf(row?.["seq"]);
  if (mark === undefined) return { mark: now, paths: [] };
  const after = mark > now ? 0 : mark;
  const rows = connection
    .prepare("select path from ValidPaths where id > ? order by id")
    .iterate(after);
  return { mark: now, paths: [...rows].map((row) => toStorePath(textOf(row["path"]), storeDir)) };
}

function selectInfos(
  connection: DatabaseSync,
  { chosen, paths, storeDir }: { chosen: string; paths: readonly StorePath[]; storeDir: string },
): Map<StorePath, PathInfo> {
  // One row a path: handing each reference over as a row of its own takes three times as long.
  const rows = connection
    .prepare(
      `${chosen} select v.*,
         (select group_concat(r.path, ' ') from Refs join ValidPaths r on r.id = reference
          where referrer = v.id) as refs
       from chosen join ValidPaths v on v.id = chosen.id`,
    )
    .iterate(JSON.stringify(paths));
  const read = pathInfoReader(storeDir);
  const infos = rows.map((row) => read(recordOf(row)));
  return new Map(infos.map((info) => [info.path, info]));
}

function recordOf(row: Row): PathRecord {
  return {
    path: textOf(row["path"]),
    narHash: textOf(row["hash"]),
    narSize: numberOf(row["narSize"]),
    references: wordsOf(row["refs"]),
    deriver: textOf(row["deriver"]),
    registrationTime: numberOf(row["registrationTime"]),
    ultimate: row["ultimate"] === 1,
    signatures: wordsOf(row["sigs"]),
    contentAddress: textOf(row["ca"]),
  };
}

function wordsOf(value: SQLOutputValue | undefined): string[] {
  return textOf(value)
    .split(" ")
    .filter((word) => word !== "");
}

function textOf(value: SQLOutputValue | undefined): string {
  return typeof value === "string" ? value : "";
}

function numberOf(value: SQLOutputValue | undefined): number {
  return typeof value === "number" ? value : 0;
}
