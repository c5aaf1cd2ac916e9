import { HandpickError } from "../error.ts";
import type { Clock } from "../clock.ts";
import type { HttpResponse } from "./http-message.ts";
import { isTransient } from "./network-error.ts";

const LONGEST_DELAY_MS = 15_000;
/** A hint of next to nothing would have us ask without end, as only waiting counts. */
const SHORTEST_HINT_MS = 1_000;
const LONGEST_HINT_MS = 120_000;
const ALL_DELAYS_MS = 90_000;
/** A server that answers late or never is asked a few times, not for the rest of the day. */
const ALL_TRIES_MS = 300_000;

/** The status "Insufficient Storage". */
export const DISK_FULL = 507;
/** The status "Not Implemented": that of a server which does not know the method. */
const UNKNOWN_METHOD = 501;

/** Told before each wait. */
export interface RetryNotice {
  /** The failure, for people. */
  readonly reason: string;
  readonly delayMs: number;
}

export interface RetryOptions {
  readonly clock: Clock;
  /** Uniform in [0, 1). @default {Math.random} */
  readonly random?: (() => number) | undefined;
  readonly onRetry?: ((notice: RetryNotice) => void) | undefined;
  /** How long all waits together may be. @default {90_000, but 120_000 where a server asks for it} */
  readonly delaysMs?: number | undefined;
  /** How long all waits together may be while there is no answer at all. @default {90_000} */
  readonly offlineMs?: number | undefined;
  /** How long after the first try a failure is still answered by another. @default {300_000} */
  readonly triesMs?: number | undefined;
  readonly signal: AbortSignal;
}

/**
 * Repeats `attempt` while it fails for a passing reason: no answer, 408, 429 or 5xx but 501 and 507. Waits
 * `2^n / 2` seconds plus up to as much again by chance, at most 15 s at once, or what the server
 * asked for, from 1 s to 120 s; gives up before all waits together pass 90 s, or when the tries have
 * taken too long. Returns the last answer, whatever its status.
 *
 * @param attempt Gets the number of tries before it; settles with one answer.
 * @throws The last error of `attempt`, or the reason `signal` was aborted with.
 */
export async function retry(
  attempt: (tries: number) => Promise<HttpResponse>,
  { clock, random = Math.random, signal, ...options }: RetryOptions,
): Promise<HttpResponse> {
  const { offlineMs = ALL_DELAYS_MS, triesMs = ALL_TRIES_MS, onRetry } = options;
  const { delaysMs = ALL_DELAYS_MS } = options;
  const longestHintMs = options.delaysMs ?? LONGEST_HINT_MS;
  const startMs = clock.elapsed();
  const isLate = (): boolean => clock.elapsed() - startMs > triesMs;
  let waitedMs = 0;
  for (let tries = 0; ; tries++) {
    const half = (1000 * 2 ** tries) / 2;
    const ownMs = Math.min(half + random() * half, LONGEST_DELAY_MS);
    const mayThrow = (): boolean => waitedMs + ownMs > offlineMs || isLate();
    const outcome = await outcomeOf(() => attempt(tries), mayThrow);
    const isAnswer = !(outcome instanceof HandpickError);
    if (isAnswer && !isRetryable(outcome.status)) return outcome;
    const hintMs = isAnswer ? serverHintMs(outcome, clock.now()) : undefined;
    const isLast = waitedMs + ownMs > delaysMs || (hintMs ?? 0) > longestHintMs;
    if (isAnswer && (isLast || isLate())) return outcome;
    const delayMs = hintMs ?? ownMs;
    const reason = isAnswer ? `${outcome.action}: status ${outcome.status}` : outcome.message;
    onRetry?.({ reason, delayMs });
    await clock.sleep(delayMs, signal);
    waitedMs += delayMs;
  }
}

/** Returns true if a status may pass by itself: not a full disk. The only place that decides it. */
export function isRetryable(status: number): boolean {
  const isLasting = status === DISK_FULL || status === UNKNOWN_METHOD;
  return status === 408 || status === 429 || (status >= 500 && !isLasting);
}

/** An answer, or a failure that may pass; throws any other, and the last. */
async function outcomeOf(
  attempt: () => Promise<HttpResponse>,
  isLast: () => boolean,
): Promise<HttpResponse | HandpickError> {
  try {
    return await attempt();
  } catch (error) {
    if (isLast() || !(error instanceof HandpickError) || !isTransient(error)) throw error;
    return error;
  }
}

/** Returns the wait that the server asked for; nothing if that is past, not positive or not understood. */
function serverHintMs(response: HttpResponse, nowMs: number): number | undefined {
  const header = response.headers["retry-after"];
  const ms = header === undefined ? bodyHintMs(response) : headerHintMs(header, nowMs);
  return ms > 0 ? Math.min(Math.max(ms, SHORTEST_HINT_MS), LONGEST_HINT_MS) : undefined;
}

function headerHintMs(header: string, nowMs: number): number {
  return /^\s*-?\d+\s*$/.test(header) ? Number(header) * 1000 : Date.parse(header) - nowMs;
}

/** Cloudflare's problem documents carry `retry_after`, in seconds. */
function bodyHintMs({ headers, body }: HttpResponse): number {
  if (!/^application\/(?:problem\+)?json\b/.test(headers["content-type"] ?? "")) return NaN;
  try {
    const problem: unknown = JSON.parse(body.toString());
    return typeof problem === "object" && problem !== null && "retry_after" in problem
      ? Number(problem.retry_after) * 1000
      : NaN;
  } catch {
    return NaN; // error bodies follow no format, see the hint as absent
  }
}
