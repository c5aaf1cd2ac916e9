import type { DatabaseSync } from "node:sqlite";

import { transaction } from "./database.ts";

interface Write {
  readonly run: () => void;
  readonly settle: PromiseWithResolvers<void>;
}

/**
 * Writes to the database, together for all requests of one moment: a transaction is synced once,
 * however many it writes for.
 */
export class Commits {
  readonly #db: DatabaseSync;
  #waiting: Write[] = [];

  constructor(db: DatabaseSync) {
    this.#db = db;
  }

  /**
   * Runs `task` in a transaction, which is on disk when this settles and undone if it fails. The task
   * may be run twice, the second time without what failed beside it.
   *
   * @throws What `task` throws, and what the database says.
   */
  run(task: () => void): Promise<void> {
    const settle = Promise.withResolvers<void>();
    if (this.#waiting.push({ run: task, settle }) === 1) setImmediate(() => this.#commit());
    return settle.promise;
  }

  #commit(): void {
    const writes = this.#waiting;
    this.#waiting = [];
    try {
      this.#commitAll(writes);
    } catch {
      // One of them is to blame, and no other may fail with it.
      for (const write of writes) this.#commitOne(write);
    }
  }

  #commitAll(writes: readonly Write[]): void {
    transaction(this.#db, () => {
      for (const { run } of writes) run();
    });
    for (const { settle } of writes) settle.resolve();
  }

  #commitOne(write: Write): void {
    try {
      this.#commitAll([write]);
    } catch (error) {
      write.settle.reject(error);
    }
  }
}
