const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"] as const;

/** A size in binary units with one decimal: `812 B`, `5.2 MiB`. */
export function formatSize(sizeBytes: number): string {
  let value = sizeBytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${UNITS[unit] ?? "B"}`;
}
