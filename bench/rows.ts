import type { Row } from "./bench.ts";
import { memoryRow } from "./rows/memory.ts";
import { packRow } from "./rows/pack.ts";
import { pushRow } from "./rows/push.ts";

/** The rows of the table, in its order. */
export const ROWS: readonly Row[] = [packRow, pushRow, memoryRow];
