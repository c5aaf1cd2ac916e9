import { PackPool } from "../src/push/pack-pool.ts";

/**
 * Packs the path of its first argument, whose NAR has the size of its second, as a push does, and
 * prints what came out. A program of its own, since what it is compared with are programs too.
 */
const [physicalPath = "", narSize] = process.argv.slice(2);
await using pool = new PackPool({ threads: 2 });
const result = await pool.pack(
  {
    physicalPath,
    narSize: Number(narSize),
    compression: "zstd",
    level: 3,
    partSize: 8 << 20,
    md5: true,
    onPart: () => Promise.resolve(),
  },
  new AbortController().signal,
);
process.stdout.write(`${JSON.stringify(result)}\n`);
