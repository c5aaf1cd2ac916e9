import { readBounded } from "../../files/read-bounded.ts";

const LONGEST_TABLE = 4 << 20;

/**
 * Finds the place of a disk that is not there: one at or above a folder that `/etc/fstab` names and
 * nothing is mounted on. It exists as any folder does, on the disk below.
 *
 * @param dir Absolute.
 */
export async function unmountedPlace(dir: string): Promise<string | undefined> {
  const [fstab, mountinfo] = await Promise.all([
    readTable("/etc/fstab"),
    readTable("/proc/self/mountinfo"),
  ]);
  return mountinfo === undefined ? undefined : findUnmounted(dir, { fstab, mountinfo });
}

/** As {@link unmountedPlace}, of the texts of the two tables: fstab(5) and proc_pid_mountinfo(5). */
export function findUnmounted(
  dir: string,
  { fstab = "", mountinfo }: { readonly fstab?: string | undefined; readonly mountinfo: string },
): string | undefined {
  const mounted = new Set(rows(mountinfo).map((row) => row[4]));
  return rows(fstab)
    .map((row) => row[1] ?? "")
    .find((place) => {
      const isAbove = dir === place || dir.startsWith(`${place}/`);
      return place.length > 1 && isAbove && !mounted.has(place);
    });
}

/** The fields of the lines that are no comments; spaces in them are written as octal numbers. */
function rows(table: string): string[][] {
  const lines = table.split("\n").filter((line) => !/^\s*(?:#|$)/.test(line));
  return lines.map((line) => line.trim().split(/\s+/).map(unescape));
}

function unescape(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
}

async function readTable(file: string): Promise<string | undefined> {
  try {
    return await readBounded(file, LONGEST_TABLE);
  } catch {
    return undefined; // other systems have neither, and a table that cannot be read says nothing
  }
}
