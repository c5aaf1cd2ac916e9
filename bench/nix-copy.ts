import { mkdtemp, readdir, rm } from "node:fs/promises";
import { join } from "node:path";

import type { Bench } from "./bench.ts";
import type { Nix, Nixes } from "./nix-versions.ts";
import type { EmptyCache, Scheme } from "./places.ts";
import { run } from "./process.ts";
import type { Finished } from "./process.ts";
import type { SinkMode } from "./sink.ts";

/** What a copy of Nix is asked for. */
export interface CopyRequest {
  readonly nix: Nix;
  readonly path: string | readonly string[];
  /** Parameters of the destination, such as `compression=zstd`. */
  readonly parameters: string;
  /** How many paths have to arrive. */
  readonly paths: number;
}

/** `nix copy` into a folder, which is removed again. */
export async function copyToFolder(bench: Bench, request: CopyRequest): Promise<Finished> {
  const folder = await mkdtemp(join(bench.workDir, "copy-"));
  try {
    return await copyInto(bench, request, join(folder, "cache"));
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** `nix copy` into this folder. */
export async function copyInto(bench: Bench, request: CopyRequest, dir: string): Promise<Finished> {
  const finished = await copy(bench, request, `file://${dir}${request.parameters}`);
  checkPaths(request, await pathsIn(dir));
  return finished;
}

/** `nix copy` to a place. */
export async function copyTo(
  bench: Bench,
  request: CopyRequest,
  { url, dir, env }: EmptyCache,
): Promise<Finished> {
  const parameters = url.includes("?") ? request.parameters.replace("?", "&") : request.parameters;
  const nix = { ...request.nix, env: { ...request.nix.env, ...env } };
  const finished = await copy(bench, { ...request, nix }, url + parameters);
  checkPaths(request, await pathsIn(dir));
  return finished;
}

/** The versions of Nix that write to such places. */
export async function nixesFor(bench: Bench, scheme: Scheme): Promise<Nixes> {
  if (scheme !== "s3") return bench.nixes;
  const found: Nix[] = [];
  const missing = [...bench.nixes.missing];
  for (const nix of bench.nixes.found) {
    if (await knowsS3(bench, nix)) found.push(nix);
    else missing.push({ version: nix.version, reason: "this build of Nix knows no s3://" });
  }
  return { found, missing };
}

async function knowsS3({ workDir: cwd, signal }: Bench, { env }: Nix): Promise<boolean> {
  const store = "s3://bucket?endpoint=127.0.0.1:1&scheme=http";
  try {
    await run("nix", ["path-info", "--store", store, "--all"], { env, cwd, signal });
    return true;
  } catch (error) {
    signal.throwIfAborted();
    return !/don't know how to open Nix store/.test(String(error));
  }
}

/** How many paths a folder has. */
export async function pathsIn(dir: string): Promise<number> {
  return (await readdir(dir)).filter((name) => name.endsWith(".narinfo")).length;
}

/** `nix copy` to the sink. */
export async function copyToSink(
  bench: Bench,
  request: CopyRequest,
  mode: Partial<SinkMode>,
): Promise<Finished> {
  bench.sink.reset(mode);
  const finished = await copy(bench, request, bench.sink.url + request.parameters);
  checkPaths(request, bench.sink.counts().paths);
  return finished;
}

/** Nix remembers what a cache has: each copy starts with a home that remembers nothing. */
async function copy(bench: Bench, { nix, path }: CopyRequest, to: string): Promise<Finished> {
  const { workDir, signal } = bench;
  const home = await mkdtemp(join(workDir, "home-"));
  try {
    const env = { ...nix.env, HOME: home, XDG_CACHE_HOME: home };
    return await run("nix", ["copy", "--to", to, ...[path].flat()], { env, cwd: workDir, signal });
  } finally {
    await rm(home, { recursive: true });
  }
}

function checkPaths({ paths }: CopyRequest, found: number): void {
  if (found !== paths) throw new Error(`Expected nix copy to send ${paths} paths, got ${found}`);
}
