import type { Bench } from "./bench.ts";
import { run } from "./process.ts";

/** Makes what was written to the disk of a folder durable; resolves with the seconds that it takes. */
export async function syncDisk(
  { store, workDir, signal }: Pick<Bench, "store" | "workDir" | "signal">,
  dir: string,
): Promise<number> {
  const options = { env: store.env, cwd: workDir, signal };
  return (await run("sync", ["-f", dir], options)).seconds;
}
