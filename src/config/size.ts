const UNITS: ReadonlyMap<string, number> = new Map([
  ["", 1],
  ["B", 1],
  ["KB", 1e3],
  ["MB", 1e6],
  ["GB", 1e9],
  ["TB", 1e12],
  ["KIB", 1024],
  ["MIB", 1024 ** 2],
  ["GIB", 1024 ** 3],
  ["TIB", 1024 ** 4],
]);

/**
 * Reads a size such as `2GiB`, `500 MB`, `1.5 GiB` or `1048576` as bytes; undefined if it is none.
 * Letter case is ignored: no file is measured in bits.
 */
export function parseSize(value: unknown): number | undefined {
  if (typeof value !== "string" && typeof value !== "number") return undefined;
  const [, amount, unit] =
    /^(\d{1,15}(?:\.\d{1,6})?) ?([A-Za-z]{0,3})$/.exec(String(value).trim()) ?? [];
  const factor = UNITS.get(unit?.toUpperCase() ?? "");
  if (amount === undefined || factor === undefined) return undefined;
  // A part of a byte is a unit that was forgotten, and would leave everything out.
  if (factor === 1 && !Number.isInteger(Number(amount))) return undefined;
  const bytes = Math.round(Number(amount) * factor);
  return Number.isSafeInteger(bytes) && bytes > 0 ? bytes : undefined;
}
