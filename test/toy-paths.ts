import assert from "node:assert/strict";

import type { Sha256 } from "../src/nix/hash.ts";
import type { PathInfo } from "../src/nix/path-info.ts";
import { parseStorePath, type StorePath } from "../src/nix/store-path.ts";

/** References by name. */
export type Graph = Readonly<Record<string, readonly string[]>>;

/** The same store path for the same name, of at most 16 ASCII characters. */
export function toyPath(name: string): StorePath {
  const digits = Buffer.from(name).toString("hex").replaceAll("e", "z");
  assert.ok(digits.length <= 32, `a shorter name than ${name}`);
  return parseStorePath(`/nix/store/${digits.padStart(32, "0")}-${name}`);
}

/** The record of a path without files. */
export function toyInfo(
  name: string,
  references: readonly string[],
  { narHash = "sha256:unused" as Sha256, narSize = 100 }: Partial<PathInfo> = {},
): PathInfo {
  return {
    path: toyPath(name),
    narHash,
    narSize,
    references: references.map(toyPath),
    deriver: undefined,
    registrationTime: 0,
    ultimate: true,
    signatures: [],
    contentAddress: undefined,
  };
}

/** The records of a graph, by path. */
export function toyInfos(graph: Graph, change: Partial<PathInfo> = {}): Map<StorePath, PathInfo> {
  return new Map(
    Object.entries(graph).map(([name, refs]) => [toyPath(name), toyInfo(name, refs, change)]),
  );
}
