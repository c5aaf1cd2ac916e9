import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { readProject } from "./markdown.ts";

interface Locked {
  readonly resolved?: string;
  readonly integrity?: string;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

const { packages } = JSON.parse(await readProject("package-lock.json")) as {
  packages: Readonly<Record<string, Locked>>;
};

describe("package-lock.json", () => {
  it("has the optional packages of every platform, without which `npm ci` refuses", () => {
    const missing = Object.values(packages).flatMap(({ optionalDependencies = {} }) =>
      Object.keys(optionalDependencies).filter((name) => !(`node_modules/${name}` in packages)),
    );
    assert.deepEqual(missing, []);
  });

  it("has the hash of every package, and the address of none", () => {
    for (const [path, { resolved, integrity }] of Object.entries(packages)) {
      assert.equal(resolved, undefined, path);
      if (path !== "") assert.match(integrity ?? "", /^sha512-/, path);
    }
  });

  it("is that of package.json", async () => {
    const { "": root } = packages;
    const wanted = JSON.parse(await readProject("package.json")) as Record<string, unknown>;
    for (const [key, value] of Object.entries(root ?? {}))
      assert.deepEqual(value, wanted[key], key);
  });
});
