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

import type { NixRecord } from "../crash/cache-check.ts";
import { CampaignCache } from "./caches.ts";
import { hashPartOf } from "./evidence.ts";
import type { CacheEvidence, Evidence, LeftFile, LedgerEntry } from "./evidence.ts";
import type { Machine, Wanted } from "./machine.ts";
import { FASTER, runProgram } from "./run-program.ts";
import type { Ended } from "./run-program.ts";
import { startUpstream } from "./upstream.ts";
import type { CampaignUpstream } from "./upstream.ts";
import { CACHES, TIME_STEP_MS } from "./schedule.ts";
import type { CacheName, FaultStep, RunCommand, RunStep, Schedule } from "./schedule.ts";

const DAY_MS = 25 * 3_600_000;

/** One round under way: caches, a state folder and a configuration of its own, on a shared store. */
export class Round implements AsyncDisposable {
  readonly caches: readonly CampaignCache[];
  readonly #machine: Machine;
  readonly #schedule: Schedule;
  readonly #dir: string;
  readonly #tokens: readonly string[];
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
    this.#tokens = parts.tokens;
    this.caches = parts.caches;
    this.#upstream = parts.upstream;
  }

  static async start(machine: Machine, schedule: Schedule): Promise<Round> {
    const names = CACHES.slice(0, schedule.caches);
    const tokens = names.map(() => `tk-${randomUUID()}`);
    const starting = names.map((name, at) => CampaignCache.start(name, tokens[at] ?? ""));
    const caches = await Promise.all(starting);
    // A cache knows nothing of an upstream of its readers, and would hide all that needs it.
    const hides = schedule.hides && !schedule.upstream;
    for (const { fake } of caches) fake.service.hidesIncompleteClosures = hides;
    const dir = join(machine.nix.dir, "rounds", randomUUID().slice(0, 8));
    const upstream = schedule.upstream ? await startUpstream(machine.upstream) : undefined;
    const round = new Round(machine, schedule, { dir, tokens, caches, upstream });
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
    const before = await this.#remember();
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
    const revokeToken = (): void => undefined; // it has none
    this.#upstream?.player.begin(step.faults, { signal, stepClock, revokeToken });
    await this.#setClock(stage === "faults" || this.#schedule.heal === "recheck" ? 0 : DAY_MS);
    const timers: NodeJS.Timeout[] = [];
    const ended = await this.#start(args, stage, (kills) => {
      kill = kills;
      timers.push(...this.#strikeInTime(step.faults));
    });
    const endedAt = performance.now();
    timers.forEach(clearTimeout);
    for (const cache of this.caches) await cache.calm();
    await this.#upstream?.player.end();
    return {
      schedule: this.#schedule,
      step,
      stage,
      ended,
      signals,
      signalledMs: signalledAt === undefined ? undefined : endedAt - signalledAt,
      ...(await this.#gather(before)),
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
    const isVariable = this.#schedule.token === "variable";
    const tokens = isVariable
      ? this.caches.map(({ name, token }) => [variableOf(name), token] as const)
      : [];
    return runProgram({
      nix,
      args,
      cwd: this.#dir,
      clock: join(this.#dir, "clock"),
      faster: stage === "faults" ? FASTER : 1,
      marks: [this.#dir, ...this.#tokens],
      env: {
        HANDPICK_STATE_DIR: join(this.#dir, "state"),
        TMPDIR: join(this.#dir, "tmp"),
        ...Object.fromEntries(tokens),
      },
      onStart,
    });
  }

  async #prepare(): Promise<void> {
    for (const name of ["", "tmp", "state", "state/wanted", "state/spool"]) {
      await mkdir(join(this.#dir, name), { mode: 0o700 });
    }
    const upstream = this.#upstream === undefined ? "" : `"${this.#upstream.url}"`;
    const tables = this.caches.map(({ name, url }) => {
      const token =
        this.#schedule.token === "file"
          ? `token-file = "${join(this.#dir, `token-${name}`)}"`
          : `token-env = "${variableOf(name)}"`;
      return `[caches.${name}]\nurl = "cachix://${name}"\nhost = "${url}"\nupstreams = [${upstream}]\n${token}\n`;
    });
    await writeFile(join(this.#dir, "campaign.toml"), tables.join(""));
    for (const { name, token } of this.caches) {
      await writeFile(join(this.#dir, `token-${name}`), token, { mode: 0o600 });
    }
    await this.#setClock(0);
  }

  /** Does what a hook does at each change: replaces the link, then leaves a mark. */
  async #wantMore(): Promise<void> {
    const next = this.#machine.wanted[this.#selections.length]?.[this.#schedule.caches];
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

  /** Lengths of the logs of the caches before a run. */
  async #remember(): Promise<ReadonlyMap<CacheName, Before>> {
    return new Map(
      this.caches.map(({ name, log, fake }) => [
        name,
        { log: log.length, violations: fake.violations.length },
      ]),
    );
  }

  #evidenceOf(cache: CampaignCache, before: Before | undefined): CacheEvidence {
    const { service, violations } = cache.fake;
    const upstream = this.#schedule.upstream ? hashPartOf(this.#machine.upstream.path) : "";
    return {
      name: cache.name,
      published: new Map(service.published),
      isVisible: (hashPart) => hashPart === upstream || service.isVisible(hashPart),
      openUploads: service.openUploadIds,
      pins: service.pins,
      violations: violations.slice(before?.violations),
      log: cache.log.slice(before?.log),
    };
  }

  async #gather(before: ReadonlyMap<CacheName, Before>): Promise<Gathered> {
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
      caches: this.caches.map((cache) => this.#evidenceOf(cache, before.get(cache.name))),
      upstreamLog: this.#upstream?.player.log ?? [],
      records,
      wanted: pathsIn(this.#selections.slice(-1)),
      allowed: pathsIn(this.#selections),
      ledger: await ledgerIn(state, copy),
      spool: await namesIn(join(state, "spool")),
      files: [...(await filesBelow(state)), ...(await filesBelow(join(this.#dir, "tmp")))],
      temporary: temporary.filter((name) => !this.#temporary.includes(name)),
      tokens: this.#tokens,
    };
    this.#temporary = temporary;
    return gathered;
  }
}

interface Parts {
  readonly dir: string;
  readonly tokens: readonly string[];
  readonly caches: readonly CampaignCache[];
  readonly upstream: CampaignUpstream | undefined;
}

interface Before {
  readonly log: number;
  readonly violations: number;
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
  | "tokens"
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

function variableOf(name: CacheName): string {
  return `CAMPAIGN_TOKEN_${name.toUpperCase()}`;
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
