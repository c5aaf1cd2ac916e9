import type { Row } from "./bench.ts";
import { cachesRow } from "./rows/caches.ts";
import { fileRow } from "./rows/file.ts";
import { memoryRow } from "./rows/memory.ts";
import { nothingRow } from "./rows/nothing.ts";
import { packRow } from "./rows/pack.ts";
import { pushRow } from "./rows/push.ts";
import { serveRow } from "./rows/serve.ts";
import { severalRow } from "./rows/several.ts";
import { startRow } from "./rows/start.ts";
import { syncRow } from "./rows/sync.ts";
import { tinyDelayedRow, tinyRow } from "./rows/tiny.ts";

/** The rows of the table, in its order. */
export const ROWS: readonly Row[] = [
  packRow,
  pushRow,
  severalRow,
  cachesRow,
  tinyDelayedRow,
  tinyRow,
  fileRow,
  serveRow,
  nothingRow,
  syncRow,
  memoryRow,
  startRow,
];
