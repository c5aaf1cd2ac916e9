import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import type { TestNix } from "./nix.ts";

/**
 * Asserts that a start script of handpick runs neither code that the environment of a project names
 * nor fails for code that is gone.
 */
export async function assertKeepsOut(
  nix: TestNix,
  program: string,
  env: Readonly<Record<string, string>>,
): Promise<void> {
  const marker = join(nix.dir, "marker");
  const code = join(nix.dir, "code.cjs");
  await writeFile(code, `require("node:fs").writeFileSync(${JSON.stringify(marker)}, "");`);
  for (const variables of [
    { NODE_OPTIONS: "--require /gone.cjs" },
    { NODE_OPTIONS: `--require ${code}` },
    { NODE_DEBUG: "module" },
  ]) {
    const { stdout, stderr } = await nix.run(program, ["--help"], {
      env: { ...env, ...variables },
    });
    assert.match(stdout, /^Usage: handpick /);
    assert.equal(stderr, "", JSON.stringify(variables));
    assert.equal(existsSync(marker), false);
  }
}
