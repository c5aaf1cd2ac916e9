/**
 * Remembers what lies in a state folder and can neither be used nor removed, such as a mount point:
 * it is told once, and is no news, so that a sync comes to its end.
 */
export class PassedOver {
  readonly #files = new Set<string>();
  #notes: string[] = [];

  has(file: string): boolean {
    return this.#files.has(file);
  }

  /** Passes over a file from now on, and tells why. */
  add(file: string, note: string): void {
    if (this.#files.has(file)) return;
    this.#files.add(file);
    this.#notes.push(note);
  }

  /** Tells of something that is out of the way now. */
  tell(note: string): void {
    this.#notes.push(note);
  }

  /** Notes that were not told yet. */
  takeNotes(): string[] {
    const notes = this.#notes;
    this.#notes = [];
    return notes;
  }
}
