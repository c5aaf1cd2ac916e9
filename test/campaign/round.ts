import { randomUUID } from "node:crypto";
import {
  copyFile,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

import { printSecretKey } from "../../src/nix/key.ts";
import type { NixRecord } from "../crash/cache-check.ts";
import { hashPartOf } from "./evidence.ts";
import type { CacheEvidence, Evidence, KnownSecret, LeftFile, LedgerEntry } from "./evidence.ts";
import { TIME_STEP_MS } from "./fault-step.ts";
import type { FaultStep } from "./fault-step.ts";
import type { CampaignCache } from "./kinds/kind.ts";
import { KINDS } from "./kinds/kinds.ts";
import type { Machine, Wanted } from "./machine.ts";
import { FASTER, runProgram } from "./run-program.ts";
import type { Ended } from "./run-program.ts";
import { cachesOf } from "./schedule.ts";
import type { RunCommand, RunStep, Schedule } from "./schedule.ts";
import { startUpstream } from "./upstream.ts";
import type { CampaignUpstream } from "./upstream.ts";

const DAY_MS = 25 * 3_600_000;

/** One round under way: caches, a state folder and a configuration of its own, on a shared store. */
export class Round implements AsyncDisposable {
  readonly caches: readonly CampaignCache[];
  readonly #machine: Machine;
  readonly #schedule: Schedule;
  readonly #dir: string;
  readonly #secrets: readonly KnownSecret[];
  readonly #upstream: CampaignUpstream | undefined;
  /** Selections so far; the last one is wanted now. */
  readonly #selections: Wanted[] = [];
  /** Tags under which `exec` built. */
  readonly #tags: string[] = [];
  /** Temporary files that killed runs left. */
  #temporary: readonly string[] = [];

  private constructor(machine: Machine, schedule: Schedule, parts: Parts) {
    this.#machine = machine;
    this.#schedule = schedule;
    this.#dir = parts.dir;
    this.#secrets = parts.secrets;
    this.caches = parts.caches;
    this.#upstream = parts.upstream;
  }

  static async start(machine: Machine, schedule: Schedule): Promise<Round> {
    const dir = join(machine.nix.dir, "rounds", randomUUID().slice(0, 8));
    for (const name of ["", "tmp", "state", "state/wanted", "state/spool"]) {
      await mkdir(join(dir, name), { mode: 0o700 });
    }
    const upstream = schedule.upstream ? await startUpstream(machine.upstream) : undefined;
    const { key } = machine;
    const secrets: KnownSecret[] = [
      { what: "the signing key", text: printSecretKey(key.secret, "cachix") },
    ];
    const caches: CampaignCache[] = [];
    for (const { name, kind } of cachesOf(schedule.kinds)) {
      const own = join(dir, name);
      await mkdir(own);
      const options = {
        name,
        dir: own,
        token: `tk-${randomUUID()}`,
        tokenPlace: schedule.token,
        hides: schedule.hides,
        upstream: upstream && { hashPart: hashPartOf(machine.upstream.path), url: upstream.own },
        key: schedule.signs ? key : undefined,
      };
      const cache = await KINDS[kind].start(options);
      secrets.push({ what: "a token", text: cache.token });
      caches.push(cache);
    }
    const round = new Round(machine, schedule, { dir, secrets, caches, upstream });
    await round.#prepare();
    return round;
  }

  /** Tells whether `exec` came to build something. */
  async hasBuilt(): Promise<boolean> {
    return (await this.#built()).length > 0;
  }

  /** Runs the program once, among the faults of the step, and gathers all that is known then. */
  async run(step: RunStep, stage: Evidence["stage"]): Promise<Evidence> {
    if (stage === "faults" && step.command !== "status") await this.#wantMore();
    const logged = this.caches.map(({ player }) => player.log.length);
    const args = await this.#argumentsFor(step.command, stage);
    const signals: NodeJS.Signals[] = [];
    let signalledAt: number | undefined;
    let kill: (signal: NodeJS.Signals) => void = () => undefined;
    const signal = (name: NodeJS.Signals): void => {
      signals.push(name);
      signalledAt = performance.now();
      kill(name);
    };
    const stepClock = (ms: number): void => void this.#stepClock(ms, () => kill("SIGURG"));
    for (const cache of this.caches) cache.begin(step.faults, { signal, stepClock });
    this.#upstream?.begin(step.faults, { signal, stepClock });
    const nowMs = stage === "faults" || this.#schedule.heal === "recheck" ? 0 : DAY_MS;
    for (const cache of this.caches) cache.setClock(nowMs);
    await this.#setClock(nowMs);
    const timers: NodeJS.Timeout[] = [];
    const ended = await this.#start(args, stage, (kills) => {
      kill = kills;
      timers.push(...this.#strikeInTime(step.faults));
    });
    const endedAt = performance.now();
    timers.forEach(clearTimeout);
    for (const cache of this.caches) await cache.calm();
    await this.#upstream?.faults.player.end();
    return {
      schedule: this.#schedule,
      step,
      stage,
      ended,
      signals,
      signalledMs: signalledAt === undefined ? undefined : endedAt - signalledAt,
      ...(await this.#gather(logged)),
    };
  }

  /** Leaves a file in the folder of the round, for tests of the checks. */
  async leave(name: string, text: string): Promise<void> {
    await writeFile(join(this.#dir, name), text);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await using stack = new AsyncDisposableStack();
    for (const server of [...this.caches, this.#upstream]) stack.use(server);
    await rm(this.#dir, { recursive: true, force: true });
  }

  /** Strikes at moments that no request tells of. */
  #strikeInTime(faults: readonly FaultStep[]): NodeJS.Timeout[] {
    const timed = faults.filter(({ operation }) => operation === "time");
    return timed.map(({ cache: name, nth, effect }) => {
      const cache = this.caches.find((one) => one.name === name);
      return setTimeout(() => void cache?.player.strike(effect), nth * TIME_STEP_MS);
    });
  }

  async #start(
    args: readonly string[],
    stage: Evidence["stage"],
    onStart: (kill: (signal: NodeJS.Signals) => void) => void,
  ): Promise<Ended> {
    const { nix } = this.#machine;
    const env = Object.assign({}, ...this.caches.map(({ env }) => env)) as CampaignCache["env"];
    return runProgram({
      nix,
      args,
      cwd: this.#dir,
      clock: join(this.#dir, "clock"),
      faster: stage === "faults" ? FASTER : 1,
      disks: this.caches.flatMap(({ disk }) => disk ?? []),
      marks: [this.#dir, ...this.#secrets.map(({ text }) => text)],
      env: {
        HANDPICK_STATE_DIR: join(this.#dir, "state"),
        TMPDIR: join(this.#dir, "tmp"),
        ...env,
      },
      onStart,
    });
  }

  async #prepare(): Promise<void> {
    const upstream = this.#upstream === undefined ? "" : `"${this.#upstream.url}"`;
    const tables = this.caches.map(({ name, settings }) => {
      const lines = Object.entries(settings).map(([key, value]) => `${key} = "${value}"`);
      return `[caches.${name}]\nupstreams = [${upstream}]\n${lines.join("\n")}\n`;
    });
    await writeFile(join(this.#dir, "campaign.toml"), tables.join(""));
    await this.#setClock(0);
  }

  /** Does what a hook does at each change: replaces the link, then leaves a mark. */
  async #wantMore(): Promise<void> {
    const next = this.#machine.wanted[this.#selections.length]?.[this.caches.length === 1 ? 1 : 2];
    if (next === undefined) return;
    this.#selections.push(next);
    const temporary = join(this.#dir, "state/wanted/.home");
    await symlink(next.manifest, temporary);
    await rename(temporary, join(this.#dir, "state/wanted/home"));
    await writeFile(join(this.#dir, "state/spool/wanted-home"), "");
  }

  async #argumentsFor(command: RunCommand, stage: Evidence["stage"]): Promise<string[]> {
    const config = ["--config", join(this.#dir, "campaign.toml")];
    if (command === "status") return ["status", ...config];
    if (command === "sync") {
      const again = stage === "heal" && this.#schedule.heal === "recheck" ? ["--recheck"] : [];
      return ["sync", "--json", ...config, ...again];
    }
    if (command === "push" && stage === "faults") {
      return ["push", "--json", ...config, this.#selections.at(-1)?.manifest ?? ""];
    }
    if (command === "push")
      return ["push", "--json", ...config, "--to", "one", ...(await this.#built())];
    const tag = randomUUID().slice(0, 8);
    this.#tags.push(tag);
    const build = ["nix-build", this.#machine.expression, "--no-out-link", "--argstr", "tag", tag];
    return ["exec", ...config, "--to", "one", "-i", `built-*-${tag}`, "--", ...build];
  }

  async #built(): Promise<string[]> {
    const isOurs = ({ path }: NixRecord): boolean =>
      /-built-[a-z]+-\w+$/.test(path) && this.#tags.some((tag) => path.endsWith(tag));
    return (await this.#machine.records()).filter(isOurs).map(({ path }) => path);
  }

  async #setClock(ms: number): Promise<void> {
    await writeFile(join(this.#dir, "clock"), String(ms));
  }

  async #stepClock(ms: number, tell: () => void): Promise<void> {
    const now = Number(await readFile(join(this.#dir, "clock"), "utf8"));
    await this.#setClock(now + ms);
    tell();
  }

  async #evidenceOf(cache: CampaignCache, logged: number): Promise<CacheEvidence> {
    const upstream = this.#schedule.upstream ? hashPartOf(this.#machine.upstream.path) : "";
    const { name, kind, player } = cache;
    const contents = await cache.contents();
    return {
      ...contents,
      isVisible: (hashPart) => hashPart === upstream || contents.isVisible(hashPart),
      name,
      kind,
      log: player.log.slice(logged),
    };
  }

  /** @param logged Lengths of the logs of the caches before the run. */
  async #gather(logged: readonly number[]): Promise<Gathered> {
    const records = new Map(
      (await this.#machine.records()).map((record) => [hashPartOf(record.path), record]),
    );
    const built = await this.#built();
    const pathsIn = (selections: readonly Wanted[]): Evidence["wanted"] =>
      new Map(
        this.caches.map(({ name }) => {
          const own = selections.flatMap(({ paths }) => paths.get(name) ?? []);
          return [name, closureOf([...own, ...(name === "one" ? built : [])], records)];
        }),
      );
    const state = join(this.#dir, "state");
    const copy = join(this.#dir, "copy");
    await mkdir(copy);
    const temporary = await namesIn(join(this.#dir, "tmp"));
    const gathered = {
      caches: await Promise.all(
        this.caches.map((cache, at) => this.#evidenceOf(cache, logged[at] ?? 0)),
      ),
      upstreamLog: this.#upstream?.faults.player.log ?? [],
      records,
      wanted: pathsIn(this.#selections.slice(-1)),
      allowed: pathsIn(this.#selections),
      ledger: await ledgerIn(state, copy),
      spool: await namesIn(join(state, "spool")),
      files: [...(await filesBelow(state)), ...(await filesBelow(join(this.#dir, "tmp")))],
      temporary: temporary.filter((name) => !this.#temporary.includes(name)),
      secrets: this.#secrets,
    };
    this.#temporary = temporary;
    return gathered;
  }
}

interface Parts {
  readonly dir: string;
  readonly secrets: readonly KnownSecret[];
  readonly caches: readonly CampaignCache[];
  readonly upstream: CampaignUpstream | undefined;
}

type Gathered = Pick<
  Evidence,
  | "caches"
  | "upstreamLog"
  | "records"
  | "wanted"
  | "allowed"
  | "ledger"
  | "spool"
  | "files"
  | "temporary"
  | "secrets"
>;

export function closureOf(
  paths: readonly string[],
  records: ReadonlyMap<string, NixRecord>,
): Set<string> {
  const found = new Set(paths);
  for (const path of found) {
    for (const reference of records.get(hashPartOf(path))?.references ?? []) found.add(reference);
  }
  return found;
}

/** Reads a copy, because to open the database of a killed program is to repair it. */
async function ledgerIn(state: string, copy: string): Promise<LedgerEntry[]> {
  try {
    for (const name of (await readdir(state)).filter((name) => name.startsWith("ledger.sqlite"))) {
      await copyFile(join(state, name), join(copy, name));
    }
    using db = new DatabaseSync(join(copy, "ledger.sqlite"));
    return db
      .prepare("SELECT cache, path, state FROM entries")
      .all()
      .map((row) => ({
        cache: String(row["cache"]),
        path: String(row["path"]),
        state: String(row["state"]),
      }));
  } catch (error) {
    // No sync has been there, or it was killed before it made the tables.
    if (error instanceof Error && /no such table/.test(error.message)) return [];
    throw error;
  } finally {
    await rm(copy, { recursive: true });
  }
}

async function namesIn(dir: string): Promise<string[]> {
  return (await readdir(dir)).toSorted();
}

async function filesBelow(dir: string): Promise<LeftFile[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  return Promise.all(
    files.map(async ({ parentPath, name }) => ({
      name: join(parentPath, name),
      bytes: await readFile(join(parentPath, name)),
    })),
  );
}
