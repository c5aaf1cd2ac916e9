import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";

import { tempDir } from "../test/temp.ts";
import type { Bench } from "./bench.ts";
import type { DelayProxy } from "./delay-proxy.ts";
import { syncDisk } from "./disk.ts";

/** Kinds of caches that Nix writes as well. */
export type Scheme = "file" | "http" | "s3";

/** For the table. */
export const PLACE_NAMES: Readonly<Record<Scheme, string>> = {
  file: "file:// on a disk",
  http: "http:// (nginx)",
  s3: "s3:// (versitygw)",
};

/** An empty cache, which is removed again. */
export interface EmptyCache extends AsyncDisposable {
  /** As handpick and `nix copy` take it. */
  readonly url: string;
  /** Where its files are. */
  readonly dir: string;
  /** The credentials to write it with. */
  readonly env: Readonly<Record<string, string>>;
}

/** A folder, or a real server. */
export interface Place extends AsyncDisposable {
  readonly scheme: Scheme;
  newCache(): Promise<EmptyCache>;
}

/** Says why this machine has no such place, or `false`. */
export async function whyNoPlace(scheme: Scheme): Promise<string | false> {
  if (scheme === "file") return false;
  if (scheme === "http") return (await import("../test/nginx.ts")).nginxSkip();
  return (await import("../test/versitygw.ts")).whyNoVersitygw;
}

/**
 * Opens a place, behind a proxy if there is one. What other runs wrote is on the disk before a new cache is
 * there, so that no run waits for another's.
 */
export async function openPlace(bench: Bench, scheme: Scheme, proxy?: DelayProxy): Promise<Place> {
  const { newCache, ...place } = await OPEN[scheme](proxy);
  return {
    ...place,
    scheme,
    newCache: async () => {
      const cache = await newCache();
      await syncDisk(bench, cache.dir);
      return cache;
    },
  };
}

type Opened = Omit<Place, "scheme">;

const OPEN: Readonly<Record<Scheme, (proxy: DelayProxy | undefined) => Promise<Opened>>> = {
  file: openFolder,
  http: openNginx,
  s3: openVersitygw,
};

async function openFolder(): Promise<Opened> {
  const temp = await tempDir("hp-bench-");
  let count = 0;
  return {
    async newCache() {
      const dir = join(temp.dir, `cache-${(count += 1)}`);
      return await emptyCache({ url: `file://${dir}`, dir, env: {} });
    },
    [Symbol.asyncDispose]: () => temp[Symbol.asyncDispose](),
  };
}

async function openNginx(proxy: DelayProxy | undefined): Promise<Opened> {
  const { startNginx } = await import("../test/nginx.ts");
  const nginx = await startNginx();
  proxy?.leadTo(nginx.port);
  const url = proxy === undefined ? nginx.url : `http://127.0.0.1:${proxy.port}/cache`;
  let count = 0;
  return {
    async newCache() {
      const name = `cache-${(count += 1)}`;
      return await emptyCache({ url: `${url}/${name}`, dir: join(nginx.dir, name), env: {} });
    },
    [Symbol.asyncDispose]: () => nginx[Symbol.asyncDispose](),
  };
}

async function openVersitygw(proxy: DelayProxy | undefined): Promise<Opened> {
  const { S3_ENV, startVersitygw } = await import("../test/versitygw.ts");
  const server = await startVersitygw();
  const { port } = new URL(server.url);
  proxy?.leadTo(Number(port));
  let count = 0;
  return {
    async newCache() {
      const name = `cache-${(count += 1)}`;
      // Debian's Nix signs no requests.
      const direct = await server.bucket(name, { everybody: "write" });
      const url = direct.replace(server.endpoint, `127.0.0.1:${proxy?.port ?? port}`);
      return await emptyCache({ url, dir: join(server.dir, name), env: S3_ENV });
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

async function emptyCache(cache: Omit<EmptyCache, keyof AsyncDisposable>): Promise<EmptyCache> {
  await mkdir(cache.dir, { recursive: true });
  return {
    ...cache,
    [Symbol.asyncDispose]: () => rm(cache.dir, { recursive: true, force: true }),
  };
}
