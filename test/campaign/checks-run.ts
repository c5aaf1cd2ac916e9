import { hashPartOf } from "./evidence.ts";
import type { CacheEvidence, Check, Evidence } from "./evidence.ts";
import { missingIn } from "./checks-cache.ts";
import { CLOCK_STEPS } from "./fault-step.ts";
import type { FaultStep } from "./fault-step.ts";
import { KINDS } from "./kinds/kinds.ts";

/** Limit for the end of a program that was interrupted; its own promise is two seconds. */
const END_MS = 8_000;

const BABBLE: readonly (readonly [string, RegExp])[] = [
  ["a stack", /^\s+at .+:\d+:\d+\)?$/m],
  ["an unexpected error", /UNEXPECTED|unexpected error/i],
  ["a warning of Node", /\(node:\d+\)|Warning: /],
  ["a value that is none", /\bundefined\b|\bNaN\b|\[object \w+\]/],
  ["a negative time", /(?<![\w-])-\d[\d.]* ?(?:ms|s|min|h|d)\b|"durationMs":-/],
  ["a wait of days", /\bin \d{3,} h\b/],
];

/** The run ended by itself, in time. */
export const endsInTime: Check = ({ ended, step, signals, signalledMs }) => {
  if (ended.hung) return [`did not end, killed after ${Math.round(ended.durationMs / 1000)} s`];
  // The first signal under exec is for its command.
  const isTold = step.command !== "exec" || signals.length > 1;
  return isTold && signalledMs !== undefined && signalledMs > END_MS
    ? [`went on for ${Math.round(signalledMs)} ms after ${signals.join(", ")}`]
    : [];
};

/** The exit code is one of those there are, and fits what happened. */
export const exitCodeFits: Check = (evidence) => {
  const { ended, signals, step, caches } = evidence;
  const { status, signal } = ended;
  if (ended.hung) return [];
  if (signal !== undefined) {
    // Before the program does anything, and while Node ends, signals do what they do to any program.
    const mayEnd = isIdle(caches) || signals.length > 1 || ended.stdout.includes('"summary"');
    const isOurs = signals.includes(signal) && (signal === "SIGKILL" || mayEnd);
    return isOurs ? [] : [`was ended by ${signal}`];
  }
  // A signal under exec is for its command, whose exit code counts.
  if (step.command === "exec" && signals.length > 0) return [];
  const wrong = (rule: string): string[] => [`exit code ${status}: ${rule}`];
  if (status === 130) return signals.length > 0 ? [] : wrong("nobody interrupted it");
  const faults = faultsBehind(evidence);
  // The clock is that of the program, whichever request steps it.
  const concerns = ({ cache, effect }: FaultStep, name: string): boolean =>
    cache === name || CLOCK_STEPS.has(effect);
  const isRefused = faults.some((fault) =>
    caches.some(({ name, kind }) => concerns(fault, name) && KINDS[kind].isRefusal(fault)),
  );
  if (status === 3) return isRefused ? [] : wrong("no cache refused anything");
  if (status === 1) return faults.length > 0 ? [] : wrong("nothing was in its way");
  return status === 0 ? zeroIsTrue(evidence) : wrong("expected 0, 1, 3 or 130");
};

/** Tells whether the program came to ask a cache for anything. */
function isIdle(caches: Evidence["caches"]): boolean {
  return caches.every(({ log }) => log.length === 0);
}

/** Lists what a run may complain of: a sync also of faults of earlier runs, if its next try is not due. */
function faultsBehind({ step, schedule }: Evidence): readonly FaultStep[] {
  return step.command === "sync" ? schedule.runs.flatMap(({ faults }) => faults) : step.faults;
}

/** A push that says that all is done has done it all. */
function zeroIsTrue({ step, stage, caches, wanted }: Evidence): string[] {
  if (step.command !== "push" || stage !== "faults") return [];
  return caches.flatMap((cache) =>
    missingIn(cache, wanted)
      .filter((path) => !isBuilt(path))
      .map((path) => `exit code 0: ${cache.name} lacks ${path}`),
  );
}

/** Output holds no slip of the program: no stack, no value that is none, no impossible time. */
export const outputIsClean: Check = ({ ended: { stdout, stderr } }) =>
  BABBLE.flatMap(([what, pattern]) => {
    const found = pattern.exec(`${stdout}\n${stderr}`)?.[0];
    return found === undefined ? [] : [`prints ${what}: ${found.trim()}`];
  });

/** A path that is told as pushed is there for readers. */
export const pushedIsThere: Check = ({ caches, ended }) =>
  ended.stdout.split("\n").flatMap((line) => {
    const { event, cache: name, path } = parse(line);
    const cache = caches.find((one) => one.name === name);
    if (event !== "pushed" || path === undefined || cache === undefined) return [];
    return cache.isVisible(hashPartOf(path)) ? [] : [`tells ${path} as pushed: ${name} lacks it`];
  });

interface Line {
  readonly event?: string;
  readonly cache?: string;
  readonly path?: string;
}

/** A line that a killed program was in the middle of says nothing. */
function parse(line: string): Line {
  try {
    return (JSON.parse(line) ?? {}) as Line;
  } catch {
    return {};
  }
}

/** A path that the ledger has as pushed is there for readers. */
export const ledgerIsTrue: Check = ({ ledger, caches }) =>
  ledger.flatMap(({ cache: name, path, state }) => {
    const cache = caches.find((one) => one.name === name);
    if (state !== "pushed" || cache === undefined || cache.isVisible(hashPartOf(path))) return [];
    return [`the ledger has ${path} as pushed: ${name} lacks it`];
  });

const SETTLED: ReadonlySet<string> = new Set(["pushed", "upstream"]);

/** Promise 5: once nothing is in the way, all that is wanted is where it is wanted. */
export const allIsThere: Check = ({ stage, step, caches, wanted, ended, ledger }) => {
  if (stage === "faults") return [];
  const isSync = step.command === "sync";
  const left = isSync ? ledger.filter(({ state }) => !SETTLED.has(state)) : [];
  return [
    ...(ended.status === 0 ? [] : [`in the end ${step.command} exits with ${ended.status}`]),
    ...left.map(({ cache, path, state }) => `in the end the ledger has ${path} ${state}: ${cache}`),
    ...caches.flatMap((cache) =>
      missingIn(cache, wanted)
        // The sync is about the selection, the push about what exec built.
        .filter((path) => isBuilt(path) !== isSync)
        .map((path) => `in the end ${cache.name} lacks ${path}`),
    ),
  ];
};

function isBuilt(path: string): boolean {
  return /-built-[a-z]+-/.test(path);
}

/** A run that finds everything done sends nothing. */
export const doneIsDone: Check = ({ stage, step, caches }) => {
  if (stage !== "again") return [];
  const isFree = ({ kind }: CacheEvidence, operation: string): boolean =>
    step.command !== "sync" && KINDS[kind].questions.has(operation);
  return caches.flatMap((cache) =>
    cache.log
      .filter(({ operation }) => !isFree(cache, operation))
      .map(({ operation }) => `${cache.name}: with nothing to do, it sends ${operation}`),
  );
};

/** A pin is set once for each path, whatever got lost on the way. */
export const pinsAreSetOnce: Check = ({ caches }) =>
  caches.flatMap(({ name, pins }) => {
    const set = pins.map((pin) => `${pin.name} at ${pin.storePath}`);
    const twice = set.filter((pin, at) => set.indexOf(pin) !== at);
    return twice.map((pin) => `${name}: sets pin ${pin} more than once`);
  });

/** Nix's own folder for a build, which a `nix-build` that a signal ends may leave. */
const FOLDER_OF_NIX = /^nix-build-/;

/** A run that was not killed leaves no temporary file, no mark and no program. */
export const nothingIsLeft: Check = ({ signals, temporary, spool, ended, step, caches }) => {
  const isEarly = signals.length > 0 && isIdle(caches);
  const isKilled = signals.includes("SIGKILL") || signals.length > 1 || isEarly;
  const left = ended.leftBehind.map(
    ({ pid, command }) => `leaves program ${pid} behind: ${command}`,
  );
  if (isKilled) return left;
  const marks = step.command === "sync" ? spool : [];
  return [
    ...left,
    ...temporary
      .filter((name) => signals.length === 0 || !FOLDER_OF_NIX.test(name))
      .map((name) => `leaves the temporary ${name}`),
    ...marks.map((name) => `leaves ${name} in the spool`),
  ];
};
