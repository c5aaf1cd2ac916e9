import type { Row } from "./bench.ts";
import { cachesRow } from "./rows/caches.ts";
import { fileRow } from "./rows/file.ts";
import { kindsRow } from "./rows/kinds.ts";
import { largeRow } from "./rows/large.ts";
import { memoryRow } from "./rows/memory.ts";
import { nothingRow } from "./rows/nothing.ts";
import { packRow } from "./rows/pack.ts";
import { presentRow } from "./rows/present.ts";
import { pushRow } from "./rows/push.ts";
import { serveRow } from "./rows/serve.ts";
import { severalRow } from "./rows/several.ts";
import { startRow } from "./rows/start.ts";
import { syncRow } from "./rows/sync.ts";
import { tinyDelayedRow, tinyRow } from "./rows/tiny.ts";
import { delayedServersRow, tinyServersRow } from "./rows/tiny-servers.ts";

/** The rows of the table, in its order. */
export const ROWS: readonly Row[] = [
  packRow,
  pushRow,
  severalRow,
  cachesRow,
  largeRow,
  kindsRow,
  tinyDelayedRow,
  tinyRow,
  fileRow,
  tinyServersRow,
  delayedServersRow,
  serveRow,
  nothingRow,
  presentRow,
  syncRow,
  memoryRow,
  startRow,
];
