import { COMPANION_KEYS, SIGNED_BY_US } from "../binary-cache.ts";
import { type CacheKind, READER_KEYS } from "../kind.ts";
import { createFileCache } from "./file-cache.ts";
import { fileUrl, fileUrlFault, folderTextFault, guessFileUrl, parseFileUrl } from "./file-url.ts";

/** Folders in the layout that Nix reads at file:///DIR, and behind any web server. */
export const fileKind: CacheKind = {
  scheme: "file",
  form: "file:///DIR",
  example: "file:///srv/cache",
  urlFault: fileUrlFault,
  textFault: folderTextFault,
  canonicalUrl: (url) => fileUrl(parseFileUrl(url)),
  guessUrl: guessFileUrl,
  folderOf: parseFileUrl,
  serverOf: () => undefined,
  needsTable: true,
  keys: new Set([...READER_KEYS, ...COMPANION_KEYS]),
  token: undefined,
  ...SIGNED_BY_US,
  client: undefined,
  isOwnHost: () => false,
  // A disk is read where there is no network, so it has to be whole.
  upstreams: [],
  readOnlyHint:
    "Check who may write to the folder, and that its disk is mounted for writing and not full.",
  noPruneHint: undefined,
  open: ({ url, ...options }) => createFileCache({ ...options, dir: parseFileUrl(url) }),
};
