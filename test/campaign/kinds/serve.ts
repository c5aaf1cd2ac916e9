import { copyFile, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

import { startServer } from "../../../src/serve/server.ts";
import type { Contents } from "../evidence.ts";
import { ServerFaults } from "../server-faults.ts";
import { CACHIX_SPEECH, cachixKind } from "./cachix.ts";
import type { CacheOptions, CampaignCache, CampaignKind } from "./kind.ts";
import { readLayout } from "./layout.ts";
import { ServerCache } from "./server-cache.ts";
import { placeToken } from "./token.ts";

/** Caches that `handpick serve` serves: the real server, which speaks as Cachix does. */
export const serveKind: CampaignKind = { ...cachixKind, name: "serve", start };

async function start(given: CacheOptions): Promise<CampaignCache> {
  const { name, upstream } = given;
  const dir = join(given.dir, "served");
  const upstreams = upstream === undefined ? [] : [upstream.url];
  const address = { host: "127.0.0.1", port: 0, upstreams, env: {} };
  const server = await startServer({ dir, name, isPrivate: false, ...address });
  // It makes its own.
  const options = { ...given, token: (await readFile(server.tokenFile, "utf8")).trim() };
  const faults = new ServerFaults(name, CACHIX_SPEECH);
  const { settings, env } = await placeToken(options);
  return new ServerCache({
    kind: "serve",
    options,
    faults,
    server,
    settings: { url: `cachix://${name}`, host: await faults.before(server.url), ...settings },
    env,
    // It has that for good.
    setToken: () => undefined,
    contents: async () => ({
      ...(await contentsOf(dir, upstream?.hashPart)),
      // Whatever was never right.
      violations: faults.player.log
        .filter(({ fault, status }) => fault === undefined && status() === 400)
        .map(({ operation, target }) => `${operation} ${target}: received 400`),
    }),
  });
}

/** Reads the folder of the server: a copy, since its database is the lock of it. */
async function contentsOf(
  dir: string,
  upstream: string | undefined,
): Promise<Omit<Contents, "violations">> {
  const copy = await mkdtemp(join(dir, "../copy-"));
  try {
    const names = (await readdir(dir)).filter((name) => name.startsWith("cache.sqlite"));
    for (const name of names) await copyFile(join(dir, name), join(copy, name));
    using db = new DatabaseSync(join(copy, "cache.sqlite"));
    const rows = db.prepare("SELECT hash, text FROM narinfos").all();
    const open = db.prepare("SELECT nar_id FROM uploads WHERE done = 0").all();
    const files = new Map([["nix-cache-info", Buffer.from("StoreDir: /nix/store\n")]]);
    for (const { hash, text } of rows) {
      files.set(`${String(hash)}.narinfo`, Buffer.from(String(text)));
    }
    for (const name of await readdir(join(dir, "nar"))) {
      files.set(`nar/${name}`, await readFile(join(dir, "nar", name)));
    }
    const { published, flaws, untold } = readLayout(files, undefined);
    // An upload that goes on has files of its own.
    const left = open.length > 0 ? [] : [...untold, ...(await readdir(join(dir, "tmp")))];
    const isVisible = (hashPart: string): boolean => {
      if (hashPart === upstream) return true;
      const references = published.get(hashPart)?.references.map((path) => path.slice(0, 32));
      return references?.every((path) => path === hashPart || isVisible(path)) ?? false;
    };
    return {
      published,
      isVisible,
      flaws: [...flaws, ...left.map((name) => `${name} is left`)],
      open: open.map((row) => String(row["nar_id"])),
      pins: [],
    };
  } finally {
    await rm(copy, { recursive: true });
  }
}
