import type { Stats } from "node:fs";
import { lstat, stat } from "node:fs/promises";
import { join } from "node:path";

import { HandpickError, writeFailure } from "../error.ts";
import { fileKind } from "../files/open-file.ts";
import { readBounded } from "../files/read-bounded.ts";
import { systemCode } from "../files/system-code.ts";
import { quote } from "../nix/format-error.ts";

/** Reading is what `status` does; acting is to write there, or to push what is wanted there. */
export type Purpose = "read" | "act";

const FOLDERS = ["wanted", "spool", "queue", "roots"] as const;
/** SQLite opens its files beside a database by itself. */
const DATABASE_FILES = ["", "-wal", "-shm", "-journal"];
const FILES: readonly string[] = [
  ...DATABASE_FILES.flatMap((suffix) => [`ledger.sqlite${suffix}`, `lock${suffix}`]),
  "due",
  "notice",
  "notice-shown",
  "failure",
];
const WRITABLE_BY_GROUP = 0o020;
const WRITABLE_BY_ALL = 0o002;
const STICKY = 0o1000;
const ROOT = 0;
const MOST_USERS_BYTES = 1 << 20;
/** systemd takes the users of services with DynamicUser from these. */
const DYNAMIC_USERS = { first: 61_184, last: 65_519 };

/**
 * Refuses a state folder in which others than its owner may have put something, and one of another
 * user. The way to the folder may have links, as systemd makes one for its services. Root may read the
 * folder of anybody, and everybody that of root. A folder that is not there is nobody's.
 *
 * @throws {HandpickError} `FILE_UNUSABLE`
 */
export async function assertOwnFolder(dir: string, purpose: Purpose): Promise<void> {
  const status = await statusOf(dir);
  const uid = process.geteuid?.();
  if (status === undefined || uid === undefined) return;
  if (!status.isDirectory()) throw refused(dir, `expected a folder, found ${fileKind(status)}`);
  // Where only owners remove their files, as on a disk mounted there, parts of others are found by their owner.
  if ((status.mode & STICKY) === 0) assertModeOf(dir, dir, status);
  const mayRead = purpose === "read" && (uid === ROOT || status.uid === ROOT);
  if (status.uid !== uid && !mayRead) throw await refusedOwner(dir, status.uid, uid);
}

/**
 * Refuses a state folder with a part that is a link, of the wrong kind, or of others than its owner and
 * root, whose hooks may write there.
 *
 * @throws {HandpickError} `FILE_UNUSABLE`
 */
export async function assertOwnParts(dir: string): Promise<void> {
  await assertOwnFolders(dir);
  const owners = await ownersOf(dir);
  for (const name of FILES) {
    const status = await partOf(dir, name);
    if (status === undefined) continue;
    if (!status.isFile()) throw refusedPart(dir, name, ["a file", fileKind(status)]);
    assertOwnerOf(dir, name, { status, owners });
  }
}

/**
 * Does so for the folders in it alone.
 *
 * @throws {HandpickError} `FILE_UNUSABLE`
 */
export async function assertOwnFolders(dir: string): Promise<void> {
  const owners = await ownersOf(dir);
  for (const name of FOLDERS) {
    const status = await partOf(dir, name);
    if (status === undefined) continue;
    if (!status.isDirectory()) throw refusedPart(dir, name, ["a folder", fileKind(status)]);
    assertOwnerOf(dir, name, { status, owners });
    assertModeOf(dir, join(dir, name), status);
  }
}

/**
 * Refuses both.
 *
 * @throws {HandpickError} `FILE_UNUSABLE`
 */
export async function assertOwnState(dir: string, purpose: Purpose): Promise<void> {
  await assertOwnFolder(dir, purpose);
  await assertOwnParts(dir);
}

/** The users to whom parts of a state folder may belong: its owner and root. */
export async function ownersOf(dir: string): Promise<ReadonlySet<number>> {
  const status = await statusOf(dir);
  return new Set([ROOT, ...(status === undefined ? [] : [status.uid])]);
}

async function statusOf(dir: string): Promise<Stats | undefined> {
  return stat(dir).catch((error: unknown) => absent(error, dir));
}

async function partOf(dir: string, name: string): Promise<Stats | undefined> {
  return lstat(join(dir, name)).catch((error: unknown) => absent(error, dir));
}

/** A part that may not be looked at is told of where it is used. */
function absent(error: unknown, dir: string): undefined {
  const code = systemCode(error) ?? "";
  if (!["ENOENT", "ENOTDIR", "EACCES", "EPERM"].includes(code))
    throw refused(dir, writeFailure(error));
}

function assertOwnerOf(
  dir: string,
  name: string,
  { status, owners }: { readonly status: Stats; readonly owners: ReadonlySet<number> },
): void {
  // Another name of one of root's files gives it to nobody.
  const isBorrowed = status.uid === ROOT && status.isFile() && status.nlink > 1;
  if (owners.has(status.uid) && !(isBorrowed && owners.size > 1)) return;
  const found = isBorrowed ? "one with another name elsewhere" : `one of user ${status.uid}`;
  throw refusedPart(dir, name, ["one of the owner of the folder or of root", found]);
}

/** Nobody else is in the group that many systems make for each user, who then has a umask of 002. */
function isWritableByOthers({ mode, uid, gid }: Stats): boolean {
  const hasOwnGroup = gid === uid && uid !== ROOT;
  return (mode & WRITABLE_BY_ALL) !== 0 || ((mode & WRITABLE_BY_GROUP) !== 0 && !hasOwnGroup);
}

function assertModeOf(dir: string, folder: string, status: Stats): void {
  if (!isWritableByOthers(status)) return;
  const octal = (status.mode & 0o7777).toString(8).padStart(4, "0");
  const object = folder === dir ? "a folder" : `${quote(folder)} to be a folder`;
  const rule = `expected ${object} that only its owner may write in, found mode ${octal}`;
  if (status.uid !== process.geteuid?.()) throw refused(dir, rule);
  const hint = `Check the files that other users put there, then run chmod go-w ${word(folder)}, or name another folder in HANDPICK_STATE_DIR.`;
  throw refused(dir, rule, hint);
}

function refusedPart(
  dir: string,
  name: string,
  [expected, found]: [string, string],
): HandpickError {
  const hint = `Move ${word(join(dir, name))} away: handpick makes a new one, and follows no link there.`;
  return refused(dir, `expected ${quote(name)} in it to be ${expected}, found ${found}`, hint);
}

async function refusedOwner(dir: string, owner: number, uid: number): Promise<HandpickError> {
  const [name, own] = await Promise.all([nameOfUser(owner), nameOfUser(uid)]);
  const rule = `expected one of user ${own ?? uid}, found one of user ${name ?? owner}`;
  if (uid !== ROOT) return refused(dir, rule);
  const command = commandOf(owner, name);
  return refused(
    dir,
    rule,
    `Run ${command}, which works there as its owner; root only reads there.`,
  );
}

/** The command that starts a sync in a folder of our own. */
export const OWN_SYNC = "handpick sync";

/** Returns the command that starts a sync of a folder by its owner, which need not be us. */
export async function syncCommand(dir: string): Promise<string> {
  const status = await stat(dir).catch(() => undefined); // nobody's yet
  const uid = process.geteuid?.();
  if (status === undefined || status.uid === uid) return OWN_SYNC;
  return commandOf(status.uid, await nameOfUser(status.uid));
}

function commandOf(owner: number, name: string | undefined): string {
  if (owner === ROOT) return "sudo handpick sync";
  const isDynamic = owner >= DYNAMIC_USERS.first && owner <= DYNAMIC_USERS.last;
  if (isDynamic) return "systemctl start handpick";
  return `sudo -u ${name ?? `'#${owner}'`} handpick sync`;
}

/** As far as the file of users tells, which the users of networks and of services are not in. */
async function nameOfUser(uid: number): Promise<string | undefined> {
  const text = await readBounded("/etc/passwd", MOST_USERS_BYTES).catch(() => "");
  const line = text.split("\n").find((one) => one.split(":")[2] === String(uid));
  const name = line?.split(":", 1)[0] ?? "";
  return /^[\w][\w.-]*$/.test(name) ? name : undefined;
}

/** A file name as it is typed in a shell. */
function word(file: string): string {
  return /^[\w/.+@:-]+$/.test(file) ? file : quote(file);
}

const OWN_FOLDER_HINT = "Name a folder of your own in HANDPICK_STATE_DIR.";

function refused(dir: string, rule: string, hint = OWN_FOLDER_HINT): HandpickError {
  const message = `Cannot use state folder ${quote(dir)}: ${rule}`;
  return new HandpickError("FILE_UNUSABLE", message, { hint });
}
