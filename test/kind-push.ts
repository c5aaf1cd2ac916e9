import assert from "node:assert/strict";
import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { createHash } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { encodeBase32 } from "../src/nix/base32.ts";
import { baseNameOf, hashPartOf, parseStorePath } from "../src/nix/store-path.ts";
import { type NixRecord, referrersFirst } from "./crash/cache-check.ts";
import { startHandpick } from "./handpick.ts";
import type { Found, KindRig } from "./kind-rig.ts";
import type { TestNix } from "./nix.ts";

/** A cache, and the store that is pushed to it. */
export interface Place {
  readonly nix: TestNix;
  readonly rig: KindRig;
  /** Base URL at which its server is reached. @default {that of the server} */
  readonly address?: string;
}

/** Between two looks, which leave the processor to what is watched. */
const LOOK_MS = 3;

let configurations = 0;

/** Starts `handpick push` of these paths, which are read from standard input. */
export async function startPush(
  { nix, rig, address = rig.target ?? "" }: Place,
  paths: readonly string[],
): Promise<ChildProcessWithoutNullStreams> {
  const config = join(nix.dir, `kind-${(configurations += 1)}.toml`);
  await writeFile(
    config,
    ["[caches.kind]", ...rig.table(address), "upstreams = []", ""].join("\n"),
  );
  const args = ["push", "--config", config, "--to", "kind", "--stdin"];
  const child = startHandpick(nix, args, { env: rig.env, uncovered: true });
  child.stdin.on("error", () => undefined); // it may be killed before it reads
  child.stdin.end(paths.join("\n"));
  return child;
}

/** Reads a cache as a reader does, over and over. */
export class KindReader {
  readonly #find: KindRig["find"];
  /** Referrers first: a path that becomes visible meanwhile has its references by then. */
  readonly #records: readonly NixRecord[];
  readonly #verified = new Set<string>();

  constructor(rig: KindRig, records: readonly NixRecord[]) {
    this.#find = (hashPart) => rig.find(hashPart);
    this.#records = referrersFirst(records);
  }

  /**
   * Fails unless every path that is visible is that of the store, byte for byte, and has all its references visible.
   * The cache may be at work meanwhile: it only grows.
   *
   * @returns Those that are visible.
   */
  async look(): Promise<ReadonlySet<string>> {
    const needed = new Map<string, string>();
    const visible = new Set<string>();
    for (const record of this.#records) {
      const found = await this.#find(hashPartOf(parseStorePath(record.path)));
      const referrer = needed.get(record.path);
      assert.ok(
        found !== undefined || referrer === undefined,
        `${record.path} is not visible, and ${referrer} is, which refers to it`,
      );
      if (found === undefined) continue;
      visible.add(record.path);
      for (const reference of record.references) needed.set(reference, record.path);
      if (!this.#verified.has(record.path)) await assertSame(found, record);
      this.#verified.add(record.path);
    }
    return visible;
  }

  /** Looks again and again while `task` is under way, and once after it; returns what the task does. */
  async during<T>(task: Promise<T>): Promise<T> {
    const over = new AbortController();
    const ended = task.finally(() => over.abort());
    // A failure to look is told once the task has ended, so that nothing of it is left.
    const watched = (async () => {
      while (!over.signal.aborted) {
        await this.look();
        await sleep(LOOK_MS);
      }
    })();
    const [outcome] = await Promise.allSettled([ended, watched]);
    await watched;
    await this.look();
    if (outcome.status === "rejected") throw outcome.reason;
    return outcome.value;
  }
}

async function assertSame(found: Found, record: NixRecord): Promise<void> {
  const { path, narHash, narSize } = record;
  const references = record.references.map((name) => baseNameOf(parseStorePath(name)));
  assert.deepEqual(
    [found.narHash, found.narSize, found.references.toSorted()],
    [narHash, narSize, references.toSorted()],
    path,
  );
  const nar = await found.nar();
  const digest = createHash("sha256").update(nar).digest();
  assert.equal(`sha256:${encodeBase32(digest)}`, narHash, path);
}
