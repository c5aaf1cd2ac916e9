import type { CacheConfig } from "../config/config.ts";
import { HandpickError } from "../error.ts";
import type { StorePath } from "../nix/store-path.ts";
import { writeText } from "../report/output.ts";
import { painter } from "../report/painter.ts";
import { verdictLines, verifyNotes } from "../report/verify-lines.ts";
import type { Members } from "../run/gather.ts";
import { pushAll } from "../run/push-all.ts";
import type { RejectedInput } from "../select/select.ts";
import { faultText, mainFault } from "../verify/fault.ts";
import { type Progress, type Verdict, verifyCache } from "../verify/verify-cache.ts";
import { chooseReport, chooseStatusLine } from "./choose-report.ts";
import { exitCodeAfter } from "./exit-code.ts";
import type { Io } from "./io.ts";
import { printError } from "./print-error.ts";
import { type GatheredRun, type PathOptions, quietly } from "./prepare-run.ts";
import { errorsMember, printRejected, rejectedMember } from "./told-beside.ts";

/** Options of `handpick verify`. */
export interface VerifyCommandOptions extends PathOptions {
  readonly deep?: boolean;
  readonly sample?: string;
  readonly realise?: boolean;
  readonly flake?: readonly string[];
  readonly repair?: boolean;
  readonly publicKey?: readonly string[];
}

/** The caches to look at, and what they are to have. */
export interface Readied {
  readonly caches: readonly CacheConfig[];
  readonly members: Members;
  readonly open: Pick<
    GatheredRun["options"],
    "config" | "store" | "env" | "uid" | "signal" | "notify"
  >;
}

export interface VerificationOptions extends Readied {
  /** Inputs that cannot be selected. @default {none} */
  readonly rejected?: readonly RejectedInput[];
  /** Absent where nothing can be pushed. */
  readonly run?: GatheredRun;
  readonly proofs: number;
  readonly publicKeys: readonly string[];
  readonly options: VerifyCommandOptions;
  readonly io: Io;
}

/** One run of `handpick verify`: look, push what is lacking if that is wanted, look again, tell. */
export class Verification {
  readonly #around: VerificationOptions;

  constructor(options: VerificationOptions) {
    this.#around = options;
  }

  async carryOut(): Promise<number> {
    const { options, io, rejected = [], run } = this.#around;
    let answer = await this.#look();
    if (options.repair === true && run !== undefined && answer.verdicts.some(isRepairable)) {
      await this.#push(answer.verdicts, run);
      answer = await this.#look();
    }
    const { verdicts, failures } = answer;
    for (const failure of failures) printError(failure, io);
    printRejected(rejected, io);
    if (options.json === true) this.#printJson(answer);
    else this.#print(verdicts);
    const faults = verdicts.reduce((sum, verdict) => sum + countFaults(verdict), 0);
    return exitCodeAfter(failures, faults + rejected.length);
  }

  async #look(): Promise<Answer> {
    const { open, members, caches, proofs, publicKeys, options, io } = this.#around;
    using line = await chooseStatusLine(io, options);
    const onProgress = ({ cache, task, done, all }: Progress): void =>
      line.show(`${cache}: ${done} of ${all} ${task}`);
    const verdicts: Verdict[] = [];
    const failures: unknown[] = [];
    const { storeDir } = open.store;
    await Promise.all(
      caches.map(async (cache) => {
        const realises = options.realise === true;
        const around = { ...open, storeDir, publicKeys, proofs, realises, onProgress };
        try {
          verdicts.push(await verifyCache(cache, members, around));
        } catch (error) {
          failures.push(error);
        }
      }),
    );
    io.signal.throwIfAborted();
    const foreign = failures.find((failure) => !(failure instanceof HandpickError));
    if (foreign !== undefined) throw foreign;
    return { verdicts: verdicts.toSorted((a, b) => (a.cache < b.cache ? -1 : 1)), failures };
  }

  /** Pushes what readers do not get, whatever the caches say of it. */
  async #push(verdicts: readonly Verdict[], run: GatheredRun): Promise<void> {
    const { options, io } = this.#around;
    const report = await chooseReport(io, {
      ...options,
      json: false,
      quiet: options.json === true,
    });
    const lacking = verdicts.filter(isRepairable);
    const unread = new Map(
      lacking.map(({ cache, holes }) => [cache, new Set<StorePath>(holes.map(({ path }) => path))]),
    );
    const caches = run.gathered.caches.filter(({ name }) => unread.has(name));
    const gathered = { ...run.gathered, caches, rejected: [] };
    try {
      await pushAll(gathered, { ...run.options, unread, onEvent: (event) => report.show(event) });
    } finally {
      report.end();
    }
  }

  #print(verdicts: readonly Verdict[]): void {
    const { options, io } = this.#around;
    const paint = painter(io.stdout);
    for (const verdict of verdicts) {
      for (const text of verdictLines(verdict, paint)) writeText(io.stdout, text);
    }
    const note = quietly(options, io);
    for (const text of verifyNotes(verdicts)) note(text);
    const isHelped = options.repair === true || !verdicts.some(isLacking);
    if (!isHelped) note("handpick verify --repair pushes what is not served");
  }

  #printJson({ verdicts, failures }: Answer): void {
    const caches = verdicts.map(({ cache, readUrl, served, proved, ...verdict }) => ({
      cache,
      readUrl,
      served,
      proved,
      areKeysKnown: verdict.areKeysKnown,
      keylessUpstreams: verdict.keylessUpstreams,
      ...(verdict.realised === undefined ? {} : { realised: verdict.realised }),
      picks: verdict.picks.map(({ pick }) => pick),
      unserved: verdict.unserved.map(({ pick, hole, chain, others }) => ({
        pick,
        path: hole.path,
        code: mainFault(hole.faults)?.code,
        chain,
        others,
      })),
      holes: verdict.holes.map(({ path, faults }) => ({
        path,
        faults: faults.map((fault) => ({ ...fault, text: faultText(fault) })),
      })),
    }));
    const { rejected = [], io } = this.#around;
    const wrong = { ...rejectedMember(rejected), ...errorsMember(failures) };
    io.stdout.write(`${JSON.stringify({ version: 1, caches, ...wrong })}\n`);
  }
}

interface Answer {
  readonly verdicts: readonly Verdict[];
  /** Why caches gave no answer. */
  readonly failures: readonly unknown[];
}

function isLacking({ unserved }: Verdict): boolean {
  return unserved.length > 0;
}

/** A server that lets no reader in shows nothing of what it has: to push it again would change nothing. */
function isRepairable(verdict: Verdict): boolean {
  return isLacking(verdict) && !verdict.wantsPassword;
}

function countFaults({ unserved, realised }: Verdict): number {
  return unserved.length + (realised?.failure === undefined ? 0 : 1);
}
