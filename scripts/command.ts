import { spawn } from "node:child_process";
import { delimiter, dirname } from "node:path";
import { fileURLToPath } from "node:url";

/** The project's root folder. */
export const ROOT: string = fileURLToPath(new URL("..", import.meta.url));

/** The environment for children: the Node that runs us comes first on PATH. */
export function childEnv(): NodeJS.ProcessEnv {
  const path = [dirname(process.execPath), process.env["PATH"] ?? ""].join(delimiter);
  return { ...process.env, PATH: path };
}

/** Runs a program of this project or a system one in the root folder; resolves with its exit code. */
export async function command(program: string, args: readonly string[]): Promise<number> {
  const child = spawn(program, args, { cwd: ROOT, env: childEnv(), stdio: "inherit" });
  return await new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", (status) => resolve(status ?? 1));
  });
}

/** A program that npm installed. */
export function installed(name: string): string {
  return `${ROOT}/node_modules/.bin/${name}`;
}
