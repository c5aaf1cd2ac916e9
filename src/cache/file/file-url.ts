import { HandpickError } from "../../error.ts";
import { DEFAULT_STORE_DIR } from "../../nix/store-path.ts";
import { queryFault } from "../nix-parameters.ts";
import { LONGEST_URL } from "../server-url.ts";

const FILE_URL = /^file:\/\/([^/?#]*)([^?#]*)(?:\?([^#]*))?(#.*)?$/s;
const SHAPE = "must have three slashes and the full name of a folder, such as file:///srv/cache";
const OF_SHELLS = "must have the full name of a folder: ~ and variables are not known in a URL";
/** Spellings that only a shell replaces: `~/x`, `file:///~/x`, `$HOME/x`, `file:///${HOME}/x`. */
const SHELL_PATH = /^(?:file:)?\/*(?:~|\$)|^file:.*\$\{/s;
/** A path, or `file:` with too few slashes. */
const NO_URL = /^(?:\.{0,2}\/|\.{1,2}$|file:(?!\/\/))/;
/** Characters of a path that Nix takes as they are, in every version. */
const PLAIN = /%(?:24|26|2B|2C|3A|3B|3D|40)/g;

/**
 * Reads `file:///DIR` and gives the folder: percent-encoding is undone, as Nix does from 2.26 on at the
 * latest (2.8 takes it literally).
 *
 * @throws {HandpickError} `CACHE_URL_UNSUPPORTED` if it is anything else.
 */
export function parseFileUrl(url: string): string {
  const read = readFileUrl(url);
  if ("folder" in read) return read.folder;
  throw new HandpickError(
    "CACHE_URL_UNSUPPORTED",
    `Cannot use the URL of the cache: it ${read.fault}`,
  );
}

/**
 * The rule that a text breaks which means a folder by its path, or by a URL that no standard could read, to be
 * said after "it"; undefined if it may mean something else. The text is named in it if it can be corrected.
 */
export function folderTextFault(text: string): string | undefined {
  if (text.length > LONGEST_URL) return undefined;
  if (SHELL_PATH.test(text)) return OF_SHELLS;
  if (text.startsWith("file://")) {
    return text.includes(" ") ? "must have %20 in place of a space" : undefined;
  }
  if (!NO_URL.test(text)) return undefined;
  // The base64 of a signing key may begin with a slash, and is not repeated.
  const meant = text.endsWith("=") ? undefined : guessFileUrl(text);
  return meant === undefined ? SHAPE : `must be ${meant}, the URL of that folder`;
}

/** The rule that a URL of `file:` breaks, to be said after "it"; undefined if none. */
export function fileUrlFault(url: string): string | undefined {
  const read = readFileUrl(url);
  return "fault" in read ? read.fault : undefined;
}

/** Spells the URL of a folder so that every Nix since 2.26 reads it. */
export function fileUrl(folder: string): string {
  const url = `file://${folder.split("/").map(encodePart).join("/")}`;
  // A folder may have the name that a shell would replace.
  return url.replace("file:///~", "file:///%7E").replace("file:///$", "file:///%24");
}

/** Returns the URL that is meant by the full name of a folder, or with too few slashes. */
export function guessFileUrl(text: string): string | undefined {
  const path = /^(?:file:)?(\/(?!\/)[^]*)$/.exec(text)?.[1];
  if (path === undefined || !path.isWellFormed()) return undefined;
  const url = fileUrl(path);
  return fileUrlFault(url) === undefined ? fileUrl(parseFileUrl(url)) : undefined;
}

type Read = { readonly folder: string } | { readonly fault: string };

function readFileUrl(url: string): Read {
  if (SHELL_PATH.test(url)) return { fault: OF_SHELLS };
  const [, host, path = "", query, hash] = FILE_URL.exec(url) ?? [];
  if (host !== "" || path === "") return { fault: SHAPE };
  if (query !== undefined) return { fault: queryFault(query) };
  if (hash !== undefined) return { fault: "must have %23 in place of #" };
  const decoded = decode(path);
  if (decoded === undefined) return { fault: "must have %25 in place of a % that encodes nothing" };
  if (/%2f/i.test(path)) return { fault: "must not contain %2F" };
  if (/\p{Cc}/u.test(decoded)) return { fault: "must not contain control characters" };
  const parts = decoded.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..")) return { fault: "must not contain .. as a part" };
  if (parts.length === 0) return { fault: "must name a folder below /" };
  const folder = `/${parts.join("/")}`;
  if (`${folder}/`.startsWith(`${DEFAULT_STORE_DIR}/`)) {
    return { fault: "must not lie in the Nix store" };
  }
  const isLong = fileUrl(folder).length > LONGEST_URL;
  return isLong ? { fault: `must have at most ${LONGEST_URL} characters` } : { folder };
}

/** Undefined for what is no UTF-8, however it is encoded. */
function decode(path: string): string | undefined {
  try {
    return path.isWellFormed() ? decodeURIComponent(path) : undefined;
  } catch {
    return undefined;
  }
}

function encodePart(part: string): string {
  return encodeURIComponent(part).replace(PLAIN, decodeURIComponent);
}
