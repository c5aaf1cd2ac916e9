import type { PathInfo } from "../nix/path-info.ts";
import type { StorePath } from "../nix/store-path.ts";
import type { DaemonConnection } from "./daemon-connection.ts";
import { type PathRecord, pathInfoReader, toStorePath } from "./path-record.ts";
import { type WireReader, WireWriter } from "./wire.ts";

const ADD_TEMP_ROOT = 11;
const ADD_INDIRECT_ROOT = 12;
const QUERY_PATH_INFO = 26;
const QUERY_VALID_PATHS = 31;
const QUERY_DERIVATION_OUTPUT_MAP = 41;

const MAX_REFERENCES = 1 << 16;
const MAX_OUTPUTS = 1 << 12;
const MAX_SIGNATURES = 1 << 10;
const MAX_STRING_BYTES = 1 << 12;

/** The records of `paths`, `undefined` where one is not valid. */
export async function queryPathInfos(
  connection: DaemonConnection,
  paths: readonly StorePath[],
  storeDir: string,
): Promise<(PathInfo | undefined)[]> {
  const requests = paths.map((path) => new WireWriter().int(QUERY_PATH_INFO).string(path));
  const read = pathInfoReader(storeDir);
  return connection.pipeline(requests, async (reader, index) => {
    const path = paths[index] ?? "";
    return (await reader.bool()) ? read(await readRecord(reader, path)) : undefined;
  });
}

/** The subset of `paths` that is valid. */
export async function queryValidPaths(
  connection: DaemonConnection,
  paths: readonly StorePath[],
  storeDir: string,
): Promise<Set<StorePath>> {
  const request = new WireWriter().int(QUERY_VALID_PATHS).strings(paths);
  const doNotSubstitute = 0;
  if (connection.version.minor >= 27) request.int(doNotSubstitute);
  const texts = await connection.request(request, (reader) =>
    reader.strings(paths.length, MAX_STRING_BYTES),
  );
  return new Set(texts.map((text) => toStorePath(text, storeDir)));
}

/** Output names and paths of a valid derivation; needs protocol 1.22. */
export async function queryDerivationOutputMap(
  connection: DaemonConnection,
  derivation: StorePath,
  storeDir: string,
): Promise<Map<string, StorePath | undefined>> {
  const request = new WireWriter().int(QUERY_DERIVATION_OUTPUT_MAP).string(derivation);
  return connection.request(request, async (reader) => {
    const outputs = new Map<string, StorePath | undefined>();
    for (let left = await reader.count(MAX_OUTPUTS); left > 0; left--) {
      const name = await reader.string(MAX_STRING_BYTES);
      const path = await reader.string(MAX_STRING_BYTES);
      outputs.set(name, path === "" ? undefined : toStorePath(path, storeDir));
    }
    return outputs;
  });
}

/** Keeps `paths`, valid or not, from garbage collection until the connection closes. */
export async function addTempRoots(
  connection: DaemonConnection,
  paths: readonly StorePath[],
): Promise<void> {
  const requests = paths.map((path) => new WireWriter().int(ADD_TEMP_ROOT).string(path));
  await connection.pipeline(requests, (reader) => reader.skipWord());
}

/** Makes the symlink `link` a root of the garbage collector. */
export async function addIndirectRoot(connection: DaemonConnection, link: string): Promise<void> {
  const request = new WireWriter().int(ADD_INDIRECT_ROOT).string(link);
  await connection.request(request, (reader) => reader.skipWord());
}

async function readRecord(reader: WireReader, path: string): Promise<PathRecord> {
  return {
    path,
    deriver: await reader.string(MAX_STRING_BYTES),
    narHash: `sha256:${await reader.string(MAX_STRING_BYTES)}`,
    references: await reader.strings(MAX_REFERENCES, MAX_STRING_BYTES),
    registrationTime: await reader.int(),
    narSize: await reader.int(),
    ultimate: await reader.bool(),
    signatures: await reader.strings(MAX_SIGNATURES, MAX_STRING_BYTES),
    contentAddress: await reader.string(MAX_STRING_BYTES),
  };
}
