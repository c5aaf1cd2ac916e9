import { once } from "node:events";
import { connect, type Socket } from "node:net";

import { HandpickError } from "../error.ts";
import { printable, skipToAnswer } from "./daemon-messages.ts";
import { protocolError, WireReader, WireWriter } from "./wire.ts";

/** How long a daemon may take, and what ends the wait early. */
export interface ConnectOptions {
  readonly signal: AbortSignal;
  /** For connecting and shaking hands: a socket-activated daemon starts first. @default {10_000} */
  readonly connectTimeoutMs?: number;
  /** For silence during a request. @default {120_000} */
  readonly idleTimeoutMs?: number;
}

/** The daemon at the other end, as agreed in the handshake. */
export interface DaemonVersion {
  /** The protocol in use is `1.<minor>`. */
  readonly minor: number;
  /** The version that the daemon names, `2.34.8`; undefined before protocol 1.33. */
  readonly nix: string | undefined;
  /** True if the daemon obeys what this user sets; undefined before protocol 1.35. */
  readonly trusted: boolean | undefined;
}

const CLIENT_MAGIC = 0x6e697863;
const DAEMON_MAGIC = 0x6478696f;
const MAJOR = 1;
const OLDEST_MINOR = 21;
const NEWEST_MINOR = 38;
const MAX_FEATURES = 1000;
/** Other numbers mean that it is not known. */
const TRUST: ReadonlyMap<number, boolean> = new Map([
  [1, true],
  [2, false],
]);
const DEFAULT_CONNECT_TIMEOUT_MS = 10_000;
const DEFAULT_IDLE_TIMEOUT_MS = 120_000;

/** Requests written before their answers are read; more would only fill buffers. */
const PIPELINE_DEPTH = 512;

/**
 * Connects to a Nix daemon and shakes hands with it.
 *
 * @throws The system's error (`ENOENT`, `ECONNREFUSED`, …) if nothing accepts on `socketPath`.
 * @throws {HandpickError} `STORE_UNAVAILABLE` if the daemon refuses this user or takes too long,
 *   `STORE_UNSUPPORTED` if it is too old, `STORE_PROTOCOL` if it is no Nix daemon.
 */
export async function connectDaemon(
  socketPath: string,
  options: ConnectOptions,
): Promise<DaemonConnection> {
  options.signal.throwIfAborted();
  const timeoutMs = options.connectTimeoutMs ?? DEFAULT_CONNECT_TIMEOUT_MS;
  const socket = connect(socketPath);
  const onAbort = (): void => void socket.destroy(new Error("Aborted"));
  options.signal.addEventListener("abort", onAbort);
  socket.once("close", () => options.signal.removeEventListener("abort", onAbort));
  const timer = setTimeout(() => socket.destroy(tooSlow(timeoutMs)), timeoutMs);
  try {
    await once(socket, "connect");
    const connection = new DaemonConnection(socket, options);
    await connection.open();
    return connection;
  } catch (error) {
    socket.destroy();
    options.signal.throwIfAborted();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/**
 * One connection to a Nix daemon. Requests queue up; whatever goes wrong with one ends the
 * connection, since the daemon may close it after an error and nothing says whether it will.
 */
export class DaemonConnection {
  readonly #socket: Socket;
  readonly #reader: WireReader;
  readonly #signal: AbortSignal;
  readonly #idleTimeoutMs: number;
  #version: DaemonVersion = { minor: OLDEST_MINOR, nix: undefined, trusted: undefined };
  #last: Promise<unknown> = Promise.resolve();
  #lost = false;

  constructor(socket: Socket, options: ConnectOptions) {
    this.#socket = socket;
    this.#signal = options.signal;
    this.#idleTimeoutMs = options.idleTimeoutMs ?? DEFAULT_IDLE_TIMEOUT_MS;
    this.#reader = new WireReader(socket.iterator({ destroyOnReturn: false }));
    // Between requests nobody reads; the next request meets the error as an ended stream.
    socket.on("error", () => undefined);
    socket.on("timeout", () => socket.destroy(silent(this.#idleTimeoutMs)));
  }

  get version(): DaemonVersion {
    return this.#version;
  }

  /** True if requests can still be sent. */
  get usable(): boolean {
    return !this.#socket.destroyed && !this.#socket.readableEnded;
  }

  /** True if the other side ended the connection, so that a new one may fare better. */
  get lost(): boolean {
    return this.#lost;
  }

  /** Shakes hands; called once, before anything else. */
  async open(): Promise<void> {
    await this.#exclusively(async () => {
      try {
        await this.#handshake();
      } catch (error) {
        // The daemon decides by our credentials after accepting, and then says not one byte.
        if (this.#reader.bytesRead > 0 || !this.#isLoss(error)) throw error;
        throw refused(error);
      }
    });
  }

  /** Sends one request and reads its answer. */
  async request<T>(request: WireWriter, read: (reader: WireReader) => Promise<T>): Promise<T> {
    const [answer] = await this.pipeline([request], async (reader) => ({
      value: await read(reader),
    }));
    if (answer === undefined) throw new TypeError("A request has one answer");
    return answer.value;
  }

  /** Sends many requests without waiting for each answer, and returns the answers in order. */
  async pipeline<T>(
    requests: readonly WireWriter[],
    read: (reader: WireReader, index: number) => Promise<T>,
  ): Promise<T[]> {
    return this.#exclusively(async () => {
      const answers: T[] = [];
      for (let start = 0; start < requests.length; start += PIPELINE_DEPTH) {
        const batch = requests.slice(start, start + PIPELINE_DEPTH);
        this.#socket.write(Buffer.concat(batch.map((request) => request.toBytes())));
        for (let left = batch.length; left > 0; left--) {
          await skipToAnswer(this.#reader, this.#version.minor);
          answers.push(await read(this.#reader, answers.length));
        }
      }
      return answers;
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  async #exclusively<T>(task: () => Promise<T>): Promise<T> {
    const before = this.#last;
    const turn = Promise.withResolvers<undefined>();
    this.#last = turn.promise;
    await before;
    this.#socket.setTimeout(this.#idleTimeoutMs);
    try {
      return await task();
    } catch (error) {
      this.#socket.destroy();
      this.#signal.throwIfAborted();
      this.#lost ||= this.#isLoss(error);
      throw error instanceof HandpickError ? error : broken(error);
    } finally {
      this.#socket.setTimeout(0);
      turn.resolve(undefined);
    }
  }

  async #handshake(): Promise<void> {
    const reader = this.#reader;
    this.#socket.write(new WireWriter().int(CLIENT_MAGIC).toBytes());
    const magic = await reader.int();
    if (magic !== DAEMON_MAGIC) {
      throw protocolError(`expected its greeting, found 0x${magic.toString(16)}`);
    }
    const theirs = await reader.int();
    const minor = Math.min(theirs % 256, NEWEST_MINOR);
    if (Math.floor(theirs / 256) !== MAJOR || minor < OLDEST_MINOR) throw tooOld(theirs);
    const hello = new WireWriter().int(MAJOR * 256 + minor);
    // We offer no features, so theirs do not matter, but must be read at this very place.
    if (minor >= 38) hello.strings([]);
    this.#socket.write(hello.toBytes());
    if (minor >= 38) await reader.strings(MAX_FEATURES, 256);
    const noAffinity = 0;
    const noReservedSpace = 0;
    this.#socket.write(new WireWriter().int(noAffinity).int(noReservedSpace).toBytes());
    const nix = minor >= 33 ? await reader.string(256) : undefined;
    const trusted = minor >= 35 ? TRUST.get(await reader.int()) : undefined;
    this.#version = { minor, nix: nix === undefined ? undefined : printable(nix), trusted };
    await skipToAnswer(this.#reader, this.#version.minor);
  }

  #isLoss(error: unknown): boolean {
    return this.#reader.ended || !(error instanceof HandpickError);
  }
}

function refused(cause: unknown): HandpickError {
  return new HandpickError(
    "STORE_UNAVAILABLE",
    "Cannot use the Nix daemon: expected a greeting, found that it refused this user",
    { cause, hint: "Ask the administrator to name this user in allowed-users of nix.conf." },
  );
}

function tooOld(version: number): HandpickError {
  const found = `${Math.floor(version / 256)}.${version % 256}`;
  return new HandpickError(
    "STORE_UNSUPPORTED",
    `Cannot use the Nix daemon: expected protocol ${MAJOR}.${OLDEST_MINOR} or newer, found ${found}`,
    { hint: "Upgrade Nix to 2.3 or newer." },
  );
}

function tooSlow(timeoutMs: number): HandpickError {
  return new HandpickError(
    "STORE_UNAVAILABLE",
    `Cannot use the Nix daemon: expected a greeting within ${timeoutMs} ms, found none`,
    { hint: "See the log of the nix-daemon service." },
  );
}

function silent(timeoutMs: number): HandpickError {
  return new HandpickError(
    "STORE_FAILED",
    `Cannot query the Nix daemon: expected an answer, found ${timeoutMs} ms of silence`,
    { hint: "See the log of the nix-daemon service." },
  );
}

function broken(cause: unknown): HandpickError {
  const detail = cause instanceof Error ? cause.message : String(cause);
  return new HandpickError(
    "STORE_FAILED",
    `Cannot query the Nix daemon: expected an open connection, found ${detail}`,
    { cause, hint: "See the log of the nix-daemon service." },
  );
}
