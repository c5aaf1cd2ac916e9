import { lstat, statfs } from "node:fs/promises";

import { type ErrorCode, HandpickError } from "../../error.ts";
import { UnfitFileError } from "../../files/open-file.ts";
import { isOutOfFiles, OPEN_FILES_HINT } from "../../files/open-files.ts";
import { isAbsent } from "../../files/read-bounded.ts";
import { systemCode } from "../../files/system-code.ts";
import { FormatError } from "../../nix/format-error.ts";

/** The meaning of a failure for the cache that the folder is. */
interface Meaning {
  readonly code: ErrorCode;
  readonly text: string;
  readonly hint?: string;
}

const FULL: Meaning = {
  code: "CACHE_UNAVAILABLE",
  text: "the disk is full",
  hint: "Make room there, then push again; what is there is not written again.",
};
const DENIED: Meaning = {
  code: "CACHE_READ_ONLY",
  text: "permission denied",
  hint: "Make the folder and what is in it writable for the user that pushes.",
};
const IN_THE_WAY: Meaning = {
  code: "UPLOAD_REJECTED",
  text: "something that is no file has its name",
  hint: "Look at what is there, and remove it.",
};
const FAILING: Meaning = {
  code: "CACHE_UNAVAILABLE",
  text: "the disk does not answer as it should",
  hint: "Check the disk or the network it is on, and that it is mounted.",
};

const MEANINGS: Readonly<Record<string, Meaning>> = {
  ENOSPC: FULL,
  EDQUOT: { ...FULL, text: "the quota of disk space is used up" },
  EROFS: { ...DENIED, text: "the disk is read-only", hint: "Mount it for writing." },
  EACCES: DENIED,
  EPERM: DENIED,
  EISDIR: IN_THE_WAY,
  ENOTEMPTY: IN_THE_WAY,
  EEXIST: IN_THE_WAY,
  EIO: FAILING,
  ENODEV: FAILING,
  ENXIO: FAILING,
  ESTALE: FAILING,
  ENOTCONN: FAILING,
  ETIMEDOUT: FAILING,
  EHOSTDOWN: FAILING,
};

const GONE: Meaning = {
  code: "CACHE_UNAVAILABLE",
  text: "its folder is gone",
  hint: "Mount its disk again, then push again.",
};

/** `f_type` of FAT in every width, by statfs(2). exFAT has no such limit. */
const FAT = 0x4d44;
const TOO_LARGE: Meaning = {
  code: "UPLOAD_REJECTED",
  text: "the file is larger than files may be there",
  hint: "Look at ulimit -f, and at the limits of that file system.",
};
const TOO_LARGE_FOR_FAT: Meaning = {
  ...TOO_LARGE,
  text: "the disk is formatted with FAT, where files end at 4 GiB",
  hint: "Format the disk with exFAT or a file system of Linux, or exclude the path.",
};

export interface FileErrorOptions {
  /** The attempted action, such as `write nar/… of cache "usb"`. */
  readonly action: string;
  /** The folder of the cache, which may have vanished. */
  readonly dir: string;
  /** True if files were only to be read. @default {false} */
  readonly isReading?: boolean;
}

/** Says what a failure of the file system means for a cache. Other errors are returned as they are. */
export async function fileError(error: unknown, options: FileErrorOptions): Promise<unknown> {
  const found = await meaningOf(error, options);
  if (found === undefined) return error;
  const { code, text, hint } = found;
  return new HandpickError(code, `Cannot ${options.action}: ${text}`, { cause: error, hint });
}

async function meaningOf(error: unknown, options: FileErrorOptions): Promise<Meaning | undefined> {
  if (error instanceof HandpickError) return undefined;
  if (error instanceof UnfitFileError) return { code: "CACHE_PROTOCOL", text: error.message };
  if (error instanceof FormatError) {
    return { code: "CACHE_PROTOCOL", text: error.message.replace(/^C/, "c") };
  }
  const code = systemCode(error);
  if (code === undefined) return undefined;
  if (isOutOfFiles(error)) {
    const text = "this process may open no more files";
    return { code: "OPEN_FILES_LIMIT", text, hint: OPEN_FILES_HINT };
  }
  if (code === "EFBIG") return (await isFat(options.dir)) ? TOO_LARGE_FOR_FAT : TOO_LARGE;
  if (isAbsent(error)) {
    const text = options.isReading === true ? "it does not exist" : "its file is gone";
    return (await exists(options.dir)) ? { code: "CACHE_PROTOCOL", text } : GONE;
  }
  const known = MEANINGS[code];
  if (known === DENIED && options.isReading === true) {
    return { code: "CACHE_REFUSED", text: DENIED.text, hint: "Make it readable for this user." };
  }
  if (known !== undefined) return { ...known, text: `${known.text} (${code})` };
  return { code: "CACHE_PROTOCOL", text: error instanceof Error ? error.message : code };
}

async function isFat(dir: string): Promise<boolean> {
  return await statfs(dir).then(
    ({ type }) => type === FAT,
    () => false,
  );
}

async function exists(dir: string): Promise<boolean> {
  return await lstat(dir).then(
    () => true,
    () => false,
  );
}
