import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { join, relative } from "node:path";

import { DiskFaults } from "../disk-faults.ts";
import type { Contents } from "../evidence.ts";
import type { FaultPlayer } from "../fault-player.ts";
import { withStrokes } from "../fault-step.ts";
import type { Effect, FaultStep } from "../fault-step.ts";
import type { CacheOptions, CacheStriking, CampaignCache, CampaignKind, CueRow } from "./kind.ts";
import { keySettings, readLayout } from "./layout.ts";

const CUES: readonly CueRow[] = [
  { cue: "look", weight: 2, most: 14 },
  { cue: "open", weight: 1, most: 4 },
  { cue: "read", weight: 1, most: 4 },
  { cue: "mkdir", weight: 1, most: 6 },
  { cue: "create", weight: 2, most: 28 },
  { cue: "write", weight: 3, most: 28 },
  { cue: "sync", weight: 3, most: 28 },
  { cue: "close", weight: 1, most: 28 },
  { cue: "rename", weight: 3, most: 28 },
  { cue: "remove", weight: 1, most: 4 },
  { cue: "any", weight: 5, most: 120 },
  { cue: "time", weight: 2, most: 14 },
];

/** How a disk fails, whatever is asked of it. */
const ANY: readonly Effect[] = ["EIO", "ESTALE", "EACCES", "late"];
const FULL: readonly Effect[] = ["ENOSPC", "EDQUOT", "EROFS"];
const OWN: Readonly<Record<string, readonly Effect[]>> = {
  mkdir: FULL,
  create: [...FULL, "EMFILE"],
  write: ["ENOSPC", "EDQUOT", "half, ENOSPC", "half, EIO", "short", "EFBIG"],
  sync: ["ENOSPC", "EDQUOT", "done, EIO"],
  close: ["done, EIO", "done, EDQUOT"],
  rename: [...FULL, "done, EIO", "done, ESTALE"],
  remove: ["EROFS"],
};

const REFUSALS: ReadonlySet<Effect> = new Set(["EACCES", "EROFS"]);

/** Caches that are folders. */
export const fileKind: CampaignKind = {
  name: "file",
  cues: CUES,
  // A descriptor that close fails for is closed all the same.
  effectsOf: (cue) => {
    const own = OWN[cue] ?? [];
    return withStrokes(cue, cue === "close" ? own : [...ANY, ...own]);
  },
  isRefusal: ({ effect }) => REFUSALS.has(effect),
  questions: new Set(["look", "open", "read", "close"]),
  told: ({ target }) => target,
  unended: ({ open, log }) => {
    const files = (operation: string): Set<string> =>
      new Set(log.filter((one) => one.operation === operation).map(({ target }) => target));
    const [made, removed] = [files("create"), files("remove")];
    return open.filter((name) => made.has(`cache/${name}`) && !removed.has(`cache/${name}`));
  },
  start: (options) => startFolder(options, { kind: "file", dir: options.dir }),
};

/** Where Linux has files in memory, which are written without other threads. */
const MEMORY = "/dev/shm";

/** Caches that are folders in memory; on disk where there is no such place. */
export const memoryKind: CampaignKind = {
  ...fileKind,
  name: "memory",
  start: async (options) => {
    const parent = existsSync(MEMORY) ? MEMORY : options.dir;
    const dir = await mkdtemp(join(parent, "hp-campaign-"));
    return await startFolder(options, { kind: "memory", dir });
  },
};

interface Place extends Pick<CampaignCache, "kind"> {
  /** Removed with the cache. */
  readonly dir: string;
}

async function startFolder(options: CacheOptions, place: Place): Promise<CampaignCache> {
  const disk = new DiskFaults(options.name, join(place.dir, "disk"));
  await mkdir(disk.folder);
  return new FolderCache(options, { ...place, disk });
}

class FolderCache implements CampaignCache {
  readonly name: CampaignCache["name"];
  readonly kind: CampaignCache["kind"];
  readonly env = {};
  readonly disk: DiskFaults;
  readonly #dir: string;
  readonly #folder: string;
  readonly #options: CacheOptions;

  constructor(options: CacheOptions, { kind, dir, disk }: Place & { readonly disk: DiskFaults }) {
    this.name = options.name;
    this.kind = kind;
    this.#dir = dir;
    this.disk = disk;
    this.#options = options;
    this.#folder = join(disk.folder, "cache");
  }

  /** None; the round has one all the same. */
  get token(): string {
    return this.#options.token;
  }

  get player(): FaultPlayer {
    return this.disk.player;
  }

  get settings(): CampaignCache["settings"] {
    return { url: `file://${this.#folder}`, ...keySettings(this.#options) };
  }

  setClock(): void {}

  begin(faults: readonly FaultStep[], striking: CacheStriking): void {
    // It takes no token.
    const revokeToken = (): void => undefined;
    this.disk.begin();
    this.player.begin(faults, { ...striking, revokeToken, goAway: () => this.disk.goAway() });
  }

  async calm(): Promise<void> {
    await this.player.end();
  }

  async contents(): Promise<Contents> {
    const files = await filesBelow(this.#folder);
    const isWhole = (name: string): boolean => !/(?:^|\/)\.partial\//.test(name);
    const whole = new Map([...files].filter(([name]) => isWhole(name)));
    const { published, isVisible, flaws } = readLayout(whole, this.#options.key);
    const open = [...files.keys()].filter((name) => !isWhole(name));
    const narOf = (file: string): string | undefined => {
      const url = /^URL: (.+)$/m.exec(
        files.get(relative(this.#folder, file))?.toString() ?? "",
      )?.[1];
      return file.endsWith(".narinfo") && url !== undefined ? join(this.#folder, url) : undefined;
    };
    const violations = this.disk.unsafeNames(narOf);
    return { published, isVisible, flaws, open, pins: [], violations };
  }

  async evict(hashPart: string): Promise<boolean> {
    await rm(join(this.#folder, `${hashPart}.narinfo`));
    return true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.player.end();
    await rm(this.#dir, { recursive: true, force: true });
  }
}

async function filesBelow(dir: string): Promise<Map<string, Buffer>> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true }).catch(() => []);
  const files = entries.filter((entry) => entry.isFile());
  return new Map(
    await Promise.all(
      files.map(async ({ parentPath, name }) => {
        const file = join(parentPath, name);
        return [relative(dir, file), await readFile(file)] as const;
      }),
    ),
  );
}
