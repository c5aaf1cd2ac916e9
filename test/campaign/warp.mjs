// Loaded before the program by --import: its time passes FACTOR times faster, so that what waits for
// minutes ends in a round of a second, and its clock is as far off as the file in CAMPAIGN_CLOCK says,
// which is read at the start and at each SIGURG: a signal that ends no program that has stopped listening.
import { readFileSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import timers from "node:timers";
import timersPromises from "node:timers/promises";
import { isMainThread } from "node:worker_threads";

const factor = Number(process.env.CAMPAIGN_FACTOR ?? 1);
const clockFile = process.env.CAMPAIGN_CLOCK;
const Clock = globalThis.Date;
const { performance } = globalThis;
const elapsed = performance.now.bind(performance);
let offset = 0;

function readClock() {
  if (clockFile !== undefined) offset = Number(readFileSync(clockFile, "utf8"));
}

/** Waits up to this long are left as they are: the last steps of an interrupted run are among them. */
const GRACE_MS = 2000;
const shorter = (ms) => (ms > GRACE_MS ? Math.ceil(ms / factor) : ms);

const faster =
  (start) =>
  (callback, ms, ...rest) =>
    start(callback, shorter(ms), ...rest);

globalThis.Date = class Date extends Clock {
  constructor(...parts) {
    if (parts.length === 0) super(Clock.now() + offset);
    else super(...parts);
  }
  static now() {
    return Clock.now() + offset;
  }
};
performance.now = () => elapsed() * factor;
for (const name of ["setTimeout", "setInterval"]) {
  globalThis[name] = timers[name] = faster(globalThis[name]);
}
const timeout = AbortSignal.timeout.bind(AbortSignal);
AbortSignal.timeout = (ms) => timeout(shorter(ms));
const sleep = timersPromises.setTimeout;
timersPromises.setTimeout = (ms, ...rest) => sleep(ms / factor, ...rest);
syncBuiltinESMExports();
readClock();
if (isMainThread) process.on("SIGURG", readClock);
