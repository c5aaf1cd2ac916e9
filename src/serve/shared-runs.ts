/** Repeats a task for those who wait for it: one run serves all that asked before it began. */
export class SharedRuns {
  readonly #task: () => Promise<void>;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(task: () => Promise<void>) {
    this.#task = task;
  }

  /**
   * Waits for a run that begins from now on.
   *
   * @throws What the task throws.
   */
  run(): Promise<void> {
    return (this.#next ??= this.#runNext());
  }

  async #runNext(): Promise<void> {
    // The one before has told its failure to those who waited for it.
    await this.#running?.catch(() => undefined);
    this.#next = undefined;
    this.#running = this.#task();
    await this.#running;
  }
}
