import { execFileSync } from "node:child_process";

import { type TempDir, tempDir } from "./temp.ts";

/** Makes a small disk read-only or writable again, or gives it another size. */
export function remount(dir: string, option: "ro" | "rw" | `size=${number}`): void {
  execFileSync("mount", ["-o", `remount,${option}`, dir]);
}

/** Makes an empty folder on a file system of its own; returns undefined where this user may not mount. */
export async function smallDisk(sizeBytes: number): Promise<TempDir | undefined> {
  await using stack = new AsyncDisposableStack();
  const { dir } = stack.use(await tempDir());
  const options = `size=${sizeBytes},mode=700`;
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", options, "none", dir], { stdio: "ignore" });
  } catch {
    return undefined;
  }
  stack.defer(() => void execFileSync("umount", ["-l", dir]));
  const kept = stack.move();
  return { dir, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}
