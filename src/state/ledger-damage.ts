import { systemCode } from "../files/system-code.ts";

/** Says that the ledger holds what no handpick of its version writes. */
export class LedgerDamage extends Error {
  override readonly name = "LedgerDamage";
}

/** SQLite's codes for statements that do not fit the tables, damaged files and files of another kind. */
const DAMAGED: ReadonlySet<number> = new Set([1, 11, 26]);

/** Tells if an error, or what made it, is one of a damaged ledger; an error of SQLite has to be its own. */
export function isDamage(error: unknown): boolean {
  if (error instanceof LedgerDamage) return true;
  if (!(error instanceof Error)) return false;
  // A number beyond those of JavaScript, which SQLite can hold, is no SQLite error.
  if (systemCode(error) === "ERR_OUT_OF_RANGE") return true;
  // Codes above a byte tell more of the same.
  if ("errcode" in error) return DAMAGED.has(Number(error.errcode) & 0xff);
  return isDamage(error.cause);
}
