import { resolve } from "node:path";

import { stateDirectory } from "../config/state-directory.ts";
import { loadConfig } from "../config/find-config.ts";
import { unpushedLine } from "../report/unpushed-lines.ts";
import { scheduleRetry } from "../state/due-file.ts";
import { PassedOver } from "../state/passed-over.ts";
import { type StateFolder, stateFolder } from "../state/state-folder.ts";
import { readWanted } from "../state/wanted.ts";
import { openStore } from "../store/open-store.ts";
import type { RunEvent, Summary } from "../run/events.ts";
import { Tally } from "../run/tally.ts";
import { recordingFailure } from "../sync/record-failure.ts";
import { sync, type SyncEnd } from "../sync/sync.ts";
import { chooseReport } from "./choose-report.ts";
import { type CommonOptions, defineCommand, type NamedCommand } from "./command.ts";
import { startDetached } from "./detach.ts";
import { EXIT } from "../error.ts";
import type { Io } from "./io.ts";
import { rarely } from "./prepare-run.ts";

interface SyncOptions extends CommonOptions {
  readonly store?: string;
  readonly wait?: boolean;
  readonly recheck?: boolean;
  readonly detach?: boolean;
}

/** `handpick sync`: make the caches match what is wanted. */
export function syncCommand(io: Io): NamedCommand {
  return defineCommand<SyncOptions>({
    usage: "sync",
    summary: "Push all that is wanted and missing, as services do",
    description:
      "Make the caches match what is wanted: push what they lack of the selections in\n" +
      "the state folder. A later sync tries failures again; handpick status\n" +
      "shows them. Exit code 3 if a cache refuses us, 1 if something else is wrong that\n" +
      "does not heal by itself.\n\n" +
      "A sync is started in one of these ways: the modules for home-manager, NixOS and nix-darwin set up systemd or\n" +
      "launchd; elsewhere the hook of a shell does, if the library was given the program\n" +
      "(handpick = ...) or handpick is on the PATH of the shell; or cron, by a line such as\n" +
      "the next. handpick status shows which.\n\n" +
      "*/15 * * * * handpick sync -q",
    options: [
      ["--wait", "Ask now, and again until all is pushed or cannot be (default: off)"],
      ["--recheck", "Ask all caches now, and try again what failed (default: when it is time)"],
      ["--detach", "Do all this in the background, and end at once (default: off)"],
      ["--store <store>", "Nix store to read (default: auto)"],
    ],
    examples: [
      ["handpick sync", "push what is wanted and missing"],
      ["handpick sync --wait", "the same in CI: succeed only when it is all there"],
    ],
    action: async (_, options) => {
      if (options.detach !== true) return runSync(options, io);
      await startDetached(["sync", ...argumentsOf(options, io)], io);
      return EXIT.done;
    },
  });
}

/** The options again, for a process that works elsewhere and whose output nobody sees. */
function argumentsOf({ config, store, wait, recheck }: SyncOptions, { cwd }: Io): string[] {
  return [
    ...(config === undefined ? [] : [`--config=${resolve(cwd, config)}`]),
    ...(store === undefined ? [] : [`--store=${store}`]),
    ...(wait === true ? ["--wait"] : []),
    ...(recheck === true ? ["--recheck"] : []),
  ];
}

/** With `--wait` it has to be all there; what the user's own rules hold back counts as in a push. */
function exitCode({ fault, isLeft }: SyncEnd, { wait }: SyncOptions): number {
  if (wait === true) return isLeft ? EXIT.somePathsFailed : EXIT.done;
  if (fault === undefined) return EXIT.done;
  return fault === "refused" ? EXIT.refused : EXIT.somePathsFailed;
}

async function runSync(options: SyncOptions, io: Io): Promise<number> {
  const { signal } = io;
  const state = { folder: folderOf(io), passedOver: new PassedOver() };
  return recordingFailure({ ...state, signal, now: Date.now }, () =>
    syncFolder(state, options, io),
  );
}

/** Builds are pushed also where no selection wants anything. */
function didNothing({ pushed, present, upstream, held, excluded, failed }: Summary): boolean {
  return pushed + present + upstream + held + excluded + failed === 0;
}

function folderOf({ env, cwd, uid }: Io): StateFolder {
  return stateFolder(resolve(cwd, stateDirectory(env, uid)));
}

interface SyncedState {
  readonly folder: StateFolder;
  readonly passedOver: PassedOver;
}

async function syncFolder(state: SyncedState, options: SyncOptions, io: Io): Promise<number> {
  const { env, cwd, uid, signal } = io;
  const { folder } = state;
  await scheduleRetry(folder, Date.now());
  const report = await chooseReport(io, options);
  const tally = new Tally();
  const onEvent = (event: RunEvent): void => report.show(event);
  const note = (text: string): void => onEvent({ event: "note", text });
  try {
    const named = { file: options.config, env, cwd, uid };
    const config = await loadConfig({ ...named, serves: "wanted", note });
    const end = await sync({
      ...state,
      config,
      openStore: () => openStore({ store: options.store, env, signal }),
      env,
      uid,
      signal,
      now: Date.now,
      notify: rarely(note),
      onEvent,
      tally,
      recheck: options.recheck === true,
      wait: options.wait === true,
      onUnpushed: (left) => {
        for (const one of left) {
          const level = one.isLasting ? ({ level: "error" } as const) : {};
          onEvent({ event: "note", ...level, text: unpushedLine(one, Date.now()) });
        }
      },
    });
    const summary = tally.summary();
    if (end.isOtherAtWork) note("another sync is at work, and does this as well");
    else if (!end.isLeft && didNothing(summary) && (await readWanted(folder)).length === 0)
      note(`nothing is wanted in ${folder.dir}`);
    report.show(summary);
    return exitCode(end, options);
  } finally {
    report.end();
  }
}
