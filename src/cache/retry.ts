import type { Clock } from "./clock.ts";
import type { HttpResponse } from "./http-message.ts";
import { isTransient } from "./network-error.ts";

const LONGEST_DELAY_MS = 15_000;
const LONGEST_HINT_MS = 120_000;
const ALL_DELAYS_MS = 90_000;

export interface RetryOptions {
  readonly clock: Clock;
  /** Uniform in [0, 1). @default {Math.random} */
  readonly random?: (() => number) | undefined;
  readonly signal: AbortSignal;
}

/**
 * Repeats `attempt` while it fails for a passing reason: no answer, 408, 429 or 5xx. Waits
 * `2^n / 2` seconds plus up to as much again by chance, at most 15 s at once, or what the server
 * asked for, at most 120 s; gives up before all waits together pass 90 s. Returns the last answer,
 * whatever its status.
 *
 * @param attempt Gets the number of tries before it; settles with one answer.
 * @throws The last error of `attempt`, or the reason `signal` was aborted with.
 */
export async function retry(
  attempt: (tries: number) => Promise<HttpResponse>,
  { clock, random = Math.random, signal }: RetryOptions,
): Promise<HttpResponse> {
  let waitedMs = 0;
  for (let tries = 0; ; tries++) {
    const half = (1000 * 2 ** tries) / 2;
    const ownMs = Math.min(half + random() * half, LONGEST_DELAY_MS);
    const isLast = waitedMs + ownMs > ALL_DELAYS_MS;
    const outcome = await outcomeOf(() => attempt(tries), isLast);
    if (outcome !== undefined && (isLast || !isRetryable(outcome.status))) return outcome;
    const delayMs = (outcome && serverHintMs(outcome, clock.now())) ?? ownMs;
    await clock.sleep(delayMs, signal);
    waitedMs += delayMs;
  }
}

/** Whether a status may pass by itself. The only place that decides it. */
export function isRetryable(status: number): boolean {
  return status === 408 || status === 429 || status >= 500;
}

async function outcomeOf(
  attempt: () => Promise<HttpResponse>,
  isLast: boolean,
): Promise<HttpResponse | undefined> {
  try {
    return await attempt();
  } catch (error) {
    if (isLast || !isTransient(error)) throw error;
    return undefined;
  }
}

/** What the server asked us to wait; nothing if that is past, not positive or not understood. */
function serverHintMs(response: HttpResponse, nowMs: number): number | undefined {
  const header = response.headers["retry-after"];
  const ms = header === undefined ? bodyHintMs(response) : headerHintMs(header, nowMs);
  return ms > 0 ? Math.min(ms, LONGEST_HINT_MS) : undefined;
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
