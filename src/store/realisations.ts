import type { DatabaseSync } from "node:sqlite";

import { isRealisationId, type Realisation, type RealisationId } from "../nix/realisation.ts";
import type { StorePath } from "../nix/store-path.ts";
import { toStorePath } from "./path-record.ts";

/** Realisations by their ids, or the reason why they cannot be read. */
export type Realisations = ReadonlyMap<RealisationId, Realisation> | { readonly fault: string };

/** Selects the realisations of the paths in a JSON list, and all that these were built with. */
const CHOSEN = `with recursive chosen(id) as
  (select Realisations.id from Realisations join ValidPaths on ValidPaths.id = outputPath
   where path in (select value from json_each(?))
   union select realisationReference from RealisationsRefs join chosen on referrer = chosen.id)`;

/** Reads the realisations of `paths`, with all that these were built with; none where Nix never made any. */
export function selectRealisations(
  connection: DatabaseSync,
  paths: readonly StorePath[],
  storeDir: string,
): Realisations {
  if (hasTable(connection, "BuildTraceV3")) {
    return { fault: "Nix 2.35 and later keep them where handpick does not read" };
  }
  if (!hasTable(connection, "Realisations")) return new Map();
  const chosen = JSON.stringify(paths);
  const rows = connection
    .prepare(
      `${CHOSEN} select Realisations.id, drvPath, outputName, path, signatures
       from chosen join Realisations using (id) join ValidPaths on ValidPaths.id = outputPath
       order by Realisations.id`,
    )
    .all(chosen);
  const references = connection
    .prepare(
      `${CHOSEN} select referrer, realisationReference from chosen join RealisationsRefs on referrer = id`,
    )
    .all(chosen);
  const byRow = new Map<unknown, Read>();
  for (const { id: row, drvPath, outputName, path, signatures } of rows) {
    const id = `${String(drvPath)}!${String(outputName)}`;
    // Nix writes no others, and this is the name of a file.
    if (!isRealisationId(id)) continue;
    byRow.set(row, {
      id,
      path: toStorePath(String(path), storeDir),
      signatures: String(signatures ?? "")
        .split(" ")
        .filter(Boolean),
      dependencies: new Map(),
    });
  }
  for (const { referrer, realisationReference } of references) {
    const dependency = byRow.get(realisationReference);
    if (dependency !== undefined) {
      byRow.get(referrer)?.dependencies.set(dependency.id, dependency.path);
    }
  }
  return new Map([...byRow.values()].map((realisation) => [realisation.id, realisation]));
}

interface Read extends Realisation {
  readonly dependencies: Map<RealisationId, StorePath>;
}

function hasTable(connection: DatabaseSync, name: string): boolean {
  const tables = "select 1 from sqlite_master where type = 'table' and name = ?";
  return connection.prepare(tables).get(name) !== undefined;
}
