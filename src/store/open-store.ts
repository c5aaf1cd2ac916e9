import { HandpickError } from "../error.ts";
import { systemCode } from "../files/system-code.ts";
import { unreachable } from "./daemon-client.ts";
import { DaemonStore } from "./daemon-store.ts";
import { DatabaseStore } from "./database-store.ts";
import { Database } from "./database.ts";
import { isOwnSocket, parseStoreUri, type StoreChoice } from "./store-uri.ts";
import type { Store } from "./store.ts";

export interface OpenStoreOptions {
  /** A store as Nix takes it for `--store`. @default {env.NIX_REMOTE, or else "auto"} */
  readonly store?: string | undefined;
  /** @default {process.env} */
  readonly env?: NodeJS.ProcessEnv;
  /** Ends everything the store is waiting for, and its holds. */
  readonly signal?: AbortSignal;
}

/** Codes of `connect` when no daemon listens, as opposed to one that is in trouble. */
const NOBODY_LISTENS: ReadonlySet<unknown> = new Set(["ENOENT", "ECONNREFUSED", "ENOTSOCK"]);

/**
 * Opens the Nix store of this machine: through the daemon where one listens, for root too, since
 * only a daemon gives holds that surely last; else straight from database and files.
 *
 * @throws {HandpickError} `STORE_UNAVAILABLE` if there is none or it refuses us,
 *   `STORE_UNSUPPORTED` if it is not of this machine or too old, `CONFIG_INVALID`, or
 *   `STORE_PROTOCOL`.
 */
export async function openStore(options: OpenStoreOptions = {}): Promise<Store> {
  const env = options.env ?? process.env;
  const signal = options.signal ?? new AbortController().signal;
  const choice = parseStoreUri(options.store ?? env["NIX_REMOTE"] ?? "auto", env);
  if (choice.way !== "database") {
    const daemon = await openDaemon(choice, signal);
    if (daemon !== undefined) return daemon;
  }
  return new DatabaseStore(choice.layout, await Database.open(choice.layout.stateDir), signal);
}

/** `undefined` if the database is to be taken instead. */
async function openDaemon(choice: StoreChoice, signal: AbortSignal): Promise<Store | undefined> {
  try {
    return await DaemonStore.open({ ...choice, signal }, () => openBesideDaemon(choice));
  } catch (error) {
    if (error instanceof HandpickError || signal.aborted) throw error;
    const isAbsent = NOBODY_LISTENS.has(systemCode(error));
    if (isAbsent && choice.way === "auto") return undefined;
    throw unreachable(choice.socketPath, error);
  }
}

/**
 * The daemon's database is a mere shortcut: whatever keeps us out of it, the daemon answers. A closure of
 * 3 000 paths takes 46 ms from the database, and 120 to 160 ms from the daemon.
 */
async function openBesideDaemon(choice: StoreChoice): Promise<Database | undefined> {
  if (!isOwnSocket(choice)) return undefined;
  return Database.open(choice.layout.stateDir).catch(() => undefined);
}
