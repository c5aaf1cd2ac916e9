/** xz refuses files that need more; its highest preset needs 65 MiB. */
const MEMORY = "256MiB";

/** The command that unpacks xz to stdout, from stdin or from a file that is named behind it. */
export const UNPACK_XZ: readonly [program: string, ...args: string[]] = [
  "xz",
  "--decompress",
  "--stdout",
  "--format=xz",
  `--memlimit=${MEMORY}`,
];
