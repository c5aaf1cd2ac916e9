import { execFile } from "node:child_process";
import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

import { homeDirectory, userConfigDir } from "../home-directory.ts";
import { readBounded } from "../files/read-bounded.ts";
import { readStarted } from "../state/started-link.ts";
import type { StateFolder } from "../state/state-folder.ts";

/** The starter of `handpick sync` for a state folder, as far as files of this machine tell. */
export interface Starter {
  readonly by: "systemd-user" | "systemd" | "launchd" | "cron" | "shell" | "nobody";
  /** The unit, property list or table that names it. */
  readonly file?: string;
  /** The times at which it starts besides changes: the words of the file, such as `15min`. */
  readonly every?: string;
  /** When a hook of a shell started one last, in milliseconds since 1970. */
  readonly startedAt?: number;
}

export interface StarterOptions {
  readonly env: NodeJS.ProcessEnv;
  /** The root of the file system. @default {"/"} */
  readonly root?: string;
}

const MOST_BYTES = 64 << 10;
const CRONTAB_MS = 2_000;
const CRON_FILES = ["etc/crontab", "etc/cron.d"];

/**
 * Finds out what starts a sync here: a service manager that runs and has been told of the spool, by the
 * files that hooks go by (`_handpick_is_served`), a table of cron, or else hooks of shells, if one has.
 */
export async function findStarter(folder: StateFolder, options: StarterOptions): Promise<Starter> {
  return (
    (await findSystemd(folder, options)) ??
    (await findLaunchd(folder, options)) ??
    (await findCron(options)) ??
    (await findShell(folder)) ?? { by: "nobody" }
  );
}

async function findSystemd(
  folder: StateFolder,
  { env, root = "/" }: StarterOptions,
): Promise<Starter | undefined> {
  const runtime = env["XDG_RUNTIME_DIR"] || join(root, "run/user", String(process.getuid?.() ?? 0));
  const managers = [
    {
      by: "systemd-user",
      runs: join(runtime, "systemd/private"),
      folders: [join(userConfigDir(env), "systemd/user"), join(root, "etc/systemd/user")],
    },
    {
      by: "systemd",
      runs: join(root, "run/systemd/system"),
      folders: [join(root, "etc/systemd/system")],
    },
  ] as const;
  for (const { by, runs, folders } of managers) {
    if (!(await isThere(runs))) continue;
    for (const units of folders) {
      const file = join(units, "handpick.path");
      if (!namesSpool(await readText(file), folder)) continue;
      const timer = await readText(join(units, "handpick.timer"));
      const every = /^On(?:UnitInactiveSec|UnitActiveSec|Calendar)\s*=\s*(\S.*)$/m.exec(timer)?.[1];
      return { by, file, ...(every === undefined ? {} : { every: timeSpan(every.trim()) }) };
    }
  }
  return undefined;
}

async function findLaunchd(
  folder: StateFolder,
  { env, root = "/" }: StarterOptions,
): Promise<Starter | undefined> {
  const home = homeDirectory(env);
  const folders = [
    join(home, "Library/LaunchAgents"),
    join(root, "Library/LaunchAgents"),
    join(root, "Library/LaunchDaemons"),
  ];
  for (const lists of folders) {
    for (const name of await namesIn(lists)) {
      if (!/handpick.*\.plist$/.test(name)) continue;
      const text = await readText(join(lists, name));
      if (!namesSpool(text, folder)) continue;
      const [, seconds] = /<key>StartInterval<\/key>\s*<integer>(\d{1,9})</.exec(text) ?? [];
      const every = seconds === undefined ? {} : { every: `${seconds} s` };
      return { by: "launchd", file: join(lists, name), ...every };
    }
  }
  return undefined;
}

/** To systemd a number alone is seconds. */
function timeSpan(words: string): string {
  return /^\d+$/.test(words) ? `${words} s` : words;
}

/** Returns true if a unit file or a property list names the spool, as the hook reads them. */
function namesSpool(text: string, { spool }: StateFolder): boolean {
  return text.includes(spool) || /=%.*\/handpick\/spool/.test(text);
}

async function findCron({ env, root = "/" }: StarterOptions): Promise<Starter | undefined> {
  for (const place of CRON_FILES) {
    const names = await namesIn(join(root, place));
    const files = names.length > 0 ? names.map((name) => join(place, name)) : [place];
    for (const file of files) {
      const every = cronTime(await readText(join(root, file)));
      if (every !== undefined) return { by: "cron", file: join(root, file), every };
    }
  }
  const every = cronTime(await ownCrontab(env));
  return every === undefined ? undefined : { by: "cron", file: "crontab -l", every };
}

/** The time of the first line that runs a sync. */
function cronTime(table: string): string | undefined {
  return CRON_LINE.exec(table)?.[1];
}

const CRON_LINE =
  /^[ \t]*(@\w+|(?:[\w*/,-]+[ \t]+){4}[\w*/,-]+)[ \t][^#\n]*\bhandpick[ \t]+sync\b/m;

async function ownCrontab({ PATH }: NodeJS.ProcessEnv): Promise<string> {
  const options = { env: { PATH }, timeout: CRONTAB_MS, maxBuffer: MOST_BYTES };
  // Without cron, or without a table, there is none.
  return promisify(execFile)("crontab", ["-l"], options).then(
    ({ stdout }) => stdout,
    () => "",
  );
}

async function findShell(folder: StateFolder): Promise<Starter | undefined> {
  const startedAt = await readStarted(folder);
  return startedAt === undefined ? undefined : { by: "shell", startedAt };
}

/** A file that cannot be read tells nothing. */
async function readText(file: string): Promise<string> {
  return readBounded(file, MOST_BYTES, { regularOnly: true }).catch(() => "");
}

async function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch(() => []);
}

async function isThere(file: string): Promise<boolean> {
  return lstat(file).then(
    () => true,
    () => false,
  );
}
