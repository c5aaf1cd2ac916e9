import { resolve } from "node:path";

import { chooseCache } from "../config/choose-cache.ts";
import type { Config } from "../config/config.ts";
import { stateDirectory } from "../config/state-directory.ts";
import { watchStore } from "../live/watch.ts";
import { EXIT, toFailure } from "../error.ts";
import { printable } from "../report/format.ts";
import { failureLines } from "../report/push-lines.ts";
import { PassedOver } from "../state/passed-over.ts";
import { stateFolder } from "../state/state-folder.ts";
import { openStore } from "../store/open-store.ts";
import type { Store } from "../store/store.ts";
import type { RunEvent } from "../run/events.ts";
import { Tally } from "../run/tally.ts";
import { recordingFailure } from "../sync/record-failure.ts";
import { sync, type SyncEnd, type SyncRequest } from "../sync/sync.ts";
import { chooseReport } from "./choose-report.ts";
import { type CommonOptions, defineCommand, type NamedCommand } from "./command.ts";
import type { Io } from "./io.ts";
import { assertAccepts, INCLUDE_OPTION, liveConfig, type LiveOptions } from "./live-config.ts";
import { rarely } from "./prepare-run.ts";

interface WatchOptions extends LiveOptions {
  readonly resume?: boolean;
}

/** `handpick watch`: push what comes to be in the store. */
export function watchCommand(io: Io): NamedCommand {
  return defineCommand<WatchOptions>({
    usage: "watch",
    summary: "Push new store paths, if the rules accept them, until Ctrl-C",
    description:
      "Push new store paths until Ctrl-C: outputs that match a glob of [builds] or\n" +
      "--include, with manifests = true in [builds] the paths that built manifests name\n" +
      "(cachixPackages), and paths of wanted selections. It sees the builds of every\n" +
      "user of this machine. It does the work of handpick sync too, and tries failures\n" +
      "again later.",
    options: [
      INCLUDE_OPTION,
      ["--substituted", "Also push paths that are substituted or copied (default: off)"],
      ["--resume", "Begin where the last watch ended (default: now)"],
      ["--store <store>", "Nix store to watch (default: auto)"],
    ],
    examples: [
      ["handpick watch", "push what [builds] accepts"],
      ["handpick watch -i 'my-*' --resume", "the same for my-*, without gaps"],
    ],
    action: async (_, options) => watch(options, io),
  });
}

async function watch(options: WatchOptions, io: Io): Promise<number> {
  const { env, cwd, uid, signal } = io;
  const config = await liveConfig(options, io, { isOnce: false });
  const folder = stateFolder(resolve(cwd, stateDirectory(env, uid)));
  const open = (): Promise<Store> => openStore({ store: options.store, env, signal });
  await assertAccepts("watch the store", { config, folder });
  chooseCache(config);
  await using store = await open();
  const passedOver = new PassedOver();
  const syncs = {
    passedOver,
    folder,
    config,
    openStore: open,
    env,
    uid,
    signal,
    now: Date.now,
    recheck: false,
    wait: false,
  };
  const tell = rarely((text) => io.stderr.write(`handpick: ${printable(text)}\n`));
  await watchStore({
    folder,
    passedOver,
    config,
    store,
    substituted: options.substituted === true,
    resume: options.resume === true,
    signal,
    sync: () => recordingFailure(syncs, () => reportedSync(syncs, options, io)),
    onReady: () => announce({ config, store, isAll: options.substituted === true }, io),
    onNote: (text) => {
      if (options.quiet !== true) io.stderr.write(`handpick: ${printable(text)}\n`);
    },
    onFailure: (error) => tell(failureLines(toFailure(error)).join("\n  ")),
  });
  return EXIT.done;
}

interface Announced {
  readonly config: Config;
  readonly store: Store;
  readonly isAll: boolean;
}

/** Also with --quiet: nobody is to be taken by surprise by what is pushed of others. */
function announce({ config, store, isAll }: Announced, { stderr }: Io): void {
  const { include, caches, manifests } = config.builds;
  const names = caches.length > 0 ? caches : config.caches.map(({ name }) => name);
  const accepted = [
    ...include,
    manifests ? "paths of manifests and of wanted selections" : "paths of wanted selections",
  ].join(", ");
  stderr.write(`handpick: watching ${store.storeDir} until Ctrl-C\n`);
  stderr.write(`  pushed to ${names.join(", ")}: ${accepted}\n`);
  const others = "of every user of this machine";
  stderr.write(
    isAll
      ? `  seen: all new paths of the store, ${others}\n`
      : `  seen: builds ${others}; not substituted or copied paths\n`,
  );
}

type Syncing = Omit<SyncRequest, "onEvent" | "notify" | "tally">;

/** A sync with lines of its own; none if there was nothing to push. */
async function reportedSync(request: Syncing, options: CommonOptions, io: Io): Promise<SyncEnd> {
  const report = await chooseReport(io, options);
  const tally = new Tally();
  const busy = new Set<string>();
  const onEvent = (event: RunEvent): void => {
    if (event.event === "plan" && event.push + event.held > 0) busy.add(event.cache);
    // Where nothing changes, nothing is told.
    if ((event.event === "plan" || event.event === "excluded") && !busy.has(event.cache)) return;
    report.show(event);
  };
  const notify = rarely((text) => onEvent({ event: "note", text }));
  try {
    const end = await sync({ ...request, notify, onEvent, tally });
    if (busy.size > 0) report.show(tally.summary());
    return end;
  } finally {
    report.end();
  }
}
