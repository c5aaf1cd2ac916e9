import { HandpickError } from "../error.ts";
import { quote } from "../nix/format-error.ts";
import { type ConnectOptions, connectDaemon, type DaemonConnection } from "./daemon-connection.ts";

/** A daemon, asked over one connection that is opened again when the daemon went away. */
export class DaemonClient {
  readonly #socketPath: string;
  readonly #options: ConnectOptions;
  readonly #closed = new AbortController();
  #current: Promise<DaemonConnection>;

  constructor(socketPath: string, options: ConnectOptions) {
    this.#socketPath = socketPath;
    this.#options = options;
    this.#current = this.#connect();
  }

  /** Resolves when the daemon has answered; rejects as {@link connectDaemon} does. */
  async connected(): Promise<DaemonConnection> {
    return this.#current;
  }

  /** Runs `task`, a second time if the daemon ended the connection under it. */
  async ask<T>(task: (connection: DaemonConnection) => Promise<T>): Promise<T> {
    const connection = await this.#usable();
    try {
      return await task(connection);
    } catch (error) {
      if (!connection.lost) throw error;
      return task(await this.#usable());
    }
  }

  /** Opens a connection that is the caller's to close; closing the client leaves it alone. */
  async separate(): Promise<DaemonConnection> {
    return connectDaemon(this.#socketPath, this.#options).catch((error: unknown) => {
      throw this.#explained(error);
    });
  }

  close(reason: Error): void {
    this.#closed.abort(reason);
  }

  async #usable(): Promise<DaemonConnection> {
    const current = this.#current;
    const connection = await current.catch(() => undefined);
    if (connection?.usable === true) return connection;
    // Of several callers that find it broken, one opens the next.
    if (this.#current === current) this.#current = this.#reconnect();
    return this.#current;
  }

  async #reconnect(): Promise<DaemonConnection> {
    return this.#connect().catch((error: unknown) => {
      throw this.#explained(error);
    });
  }

  async #connect(): Promise<DaemonConnection> {
    const signal = AbortSignal.any([this.#options.signal, this.#closed.signal]);
    return connectDaemon(this.#socketPath, { ...this.#options, signal });
  }

  #explained(error: unknown): unknown {
    const isStopped = this.#options.signal.aborted || this.#closed.signal.aborted;
    if (error instanceof HandpickError || isStopped) return error;
    return unreachable(this.#socketPath, error);
  }
}

function isForbidden(cause: unknown): boolean {
  return cause instanceof Error && "code" in cause && cause.code === "EACCES";
}

/** The error for a socket on which nothing accepts. */
export function unreachable(socketPath: string, cause: unknown): HandpickError {
  return new HandpickError(
    "STORE_UNAVAILABLE",
    `Cannot reach the Nix daemon on ${quote(socketPath)}: ${cause instanceof Error ? cause.message : String(cause)}`,
    {
      cause,
      hint: isForbidden(cause)
        ? "Join the group that may use the daemon (nix-users on Debian), and log in again."
        : "Start nix-daemon, or open the store with --store local.",
    },
  );
}
