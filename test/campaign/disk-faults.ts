import { rename } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

import { FaultPlayer, GONE_MS } from "./fault-player.ts";
import { isStroke } from "./fault-step.ts";
import type { Effect, ServerName } from "./fault-step.ts";
import type { Disk, DiskCall } from "./kinds/kind.ts";

/** Plays the faults of a run at a folder, whose calls the program asks about: see `disk.mjs`. */
export class DiskFaults implements Disk {
  readonly player: FaultPlayer;
  /** The folder that stands for the disk. */
  readonly folder: string;
  /** The calls of a run by their numbers, and which question told that they had succeeded. */
  readonly #trace = new Map<number, DiskCall & { readonly overAt: number }>();
  /** Strokes that wait until their calls are done. */
  readonly #waiting = new Map<string, Effect>();

  constructor(name: ServerName, folder: string) {
    this.player = new FaultPlayer(name);
    this.folder = folder;
  }

  /** Forgets the calls so far. */
  begin(): void {
    this.#trace.clear();
  }

  hear({ number: overAt, over }: DiskCall): void {
    for (const number of over) {
      const call = this.#trace.get(number);
      if (call !== undefined) this.#trace.set(number, { ...call, overAt });
    }
  }

  async answer(asked: DiskCall): Promise<string | undefined> {
    const { number, call, path } = asked;
    this.#trace.set(number, { ...asked, overAt: Infinity });
    if (call === "done") return this.#strike(this.#waiting.get(path));
    const fault = this.player.meet(call);
    const target = path.slice(this.folder.length + 1);
    const status = (): undefined => undefined;
    const about = { upload: "", headers: "", body: undefined };
    this.player.note({ operation: call, target, ...about, fault, status });
    const effect = fault?.effect;
    if (effect === undefined) return "go";
    if (!isStroke(effect)) return answerOf(effect);
    if (!effect.endsWith(", done")) return this.#strike(effect);
    this.#waiting.set(path, effect);
    return "report";
  }

  /**
   * Lists what got its name before it was sure to survive a power cut: files in their folder, narinfos besides before
   * the NARs that they name.
   *
   * @param narOf Returns the file of the NAR that a narinfo names now; undefined for other files.
   */
  unsafeNames(narOf: (file: string) => string | undefined): string[] {
    const calls = [...this.#trace.values()];
    const isSynced = (path: string, afterAt: number, beforeAt: number): boolean =>
      calls.some(
        (one) =>
          one.call === "sync" &&
          one.path === path &&
          one.number >= afterAt &&
          one.overAt <= beforeAt,
      );
    return calls
      .filter(({ call }) => call === "rename")
      .flatMap(({ path, from, number }) => {
        const writes = calls.filter((one) => one.call === "write" && one.path === from);
        const writtenAt = Math.max(...writes.map(({ overAt }) => overAt));
        const nar = narOf(path);
        const named = calls.find((one) => one.call === "rename" && one.path === nar);
        const isWhole = isSynced(from ?? "", writtenAt, number);
        const hasNar =
          nar === undefined || isSynced(dirname(nar), named?.overAt ?? Infinity, number);
        return [
          ...(isWhole ? [] : [`${path} gets its name before it is on disk`]),
          ...(hasNar ? [] : [`${path} gets its name before ${nar} has it for good`]),
        ];
      });
  }

  /** Takes the disk away for a moment, as if it was not mounted. Files that are open stay so. */
  async goAway(): Promise<void> {
    await rename(this.folder, `${this.folder}-gone`);
    await delay(GONE_MS);
    await rename(`${this.folder}-gone`, this.folder);
  }

  async #strike(effect: Effect | undefined): Promise<string | undefined> {
    if (effect === undefined) return "go";
    await this.player.strike(effect);
    return effect.startsWith("SIGKILL") ? undefined : "go";
  }
}

/** What `disk.mjs` does under an effect. */
function answerOf(effect: Effect): string {
  const [, word, code] = /^(?:(done|half), )?(E[A-Z]+)$/.exec(effect) ?? [];
  if (code === undefined) return effect; // late, short
  return `${word === "done" ? "after" : (word ?? "fail")} ${code}`;
}
