import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdir, symlink, truncate, writeFile } from "node:fs/promises";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { tempDir } from "../../test/temp.ts";
import { parseStorePath, type StorePath } from "../nix/store-path.ts";
import { readDerivationOutputs } from "./derivation-outputs.ts";
import type { StoreLayout } from "./layout.ts";

const VECTORS: StoreLayout = {
  storeDir: "/nix/store",
  realStoreDir: fileURLToPath(new URL("../../test/vectors/drv", import.meta.url)),
  stateDir: "/nonexistent",
  logDir: "/nonexistent",
};
const EMPTY = parseStorePath(`/nix/store/${"0".repeat(32)}-empty.drv`);

async function outputsOf(baseName: string): Promise<[string, StorePath | undefined][]> {
  return [...(await readDerivationOutputs(VECTORS, parseStorePath(`/nix/store/${baseName}`)))];
}

describe("readDerivationOutputs()", () => {
  it("names paths that are known before the build", async () => {
    const outputs = await outputsOf("21zyvmxbw7yb4z640idpxbbccvqb9kpm-hello-1.2.drv");
    assert.deepEqual(
      outputs.map(([name, path]) => [name, path?.slice(44)]),
      [
        ["dev", "hello-1.2-dev"],
        ["out", "hello-1.2"],
      ],
    );
  });

  it("names no path for a floating output", async () => {
    const outputs = await outputsOf("l7phls7j4wzh524l55k0r3h1ny748p46-ca-a.drv");
    assert.deepEqual(outputs, [["out", undefined]]);
  });

  it("tells a missing file from a broken and an endless one", async () => {
    await using temp = await tempDir();
    const layout = { ...VECTORS, realStoreDir: temp.dir };
    await assert.rejects(readDerivationOutputs(layout, EMPTY), { code: "STORE_PATH_GONE" });
    const file = `${temp.dir}/${"0".repeat(32)}-empty.drv`;
    await writeFile(file, "Derive(");
    await assert.rejects(readDerivationOutputs(layout, EMPTY), { code: "STORE_PATH_CORRUPT" });
    await truncate(file, 2 ** 30);
    await assert.rejects(readDerivationOutputs(layout, EMPTY), {
      code: "STORE_PATH_CORRUPT",
      message: /exceeds/,
    });
  });

  it("waits for no pipe that an output leads to", { timeout: 10_000 }, async () => {
    await using temp = await tempDir();
    const layout = { ...VECTORS, realStoreDir: temp.dir };
    execFileSync("mkfifo", [`${temp.dir}/pipe`]);
    await symlink("pipe", `${temp.dir}/${"0".repeat(32)}-empty.drv`);
    await assert.rejects(readDerivationOutputs(layout, EMPTY), { code: "STORE_PATH_UNREADABLE" });
  });

  it("says that it cannot read what is no file", async () => {
    await using temp = await tempDir();
    const layout = { ...VECTORS, realStoreDir: temp.dir };
    await mkdir(`${temp.dir}/${"0".repeat(32)}-empty.drv`);
    await assert.rejects(readDerivationOutputs(layout, EMPTY), { code: "STORE_PATH_UNREADABLE" });
  });
});
