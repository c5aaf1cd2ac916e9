import { readFile, writeFile } from "node:fs/promises";

// As they stand in what esbuild writes.
const NAMED_IMPORT = /\bimport(\{[^{}"]*\})from("node:[a-z0-9_/]+")/g;
const WHOLE_IMPORT = /\bimport(?:\*as)? ([\w$]+) from("node:[a-z0-9_/]+")/g;
const ANY_IMPORT = /\bimport[^;()]*from"node:[^"]+"/;

/**
 * Takes what comes with Node from the module itself. For an import, Node reads all that a module exports, and some
 * of that loads a good deal more: node:http a second HTTP client, which takes 40 ms, and the others 7 ms in all.
 *
 * @throws {Error} If an import is written as none was before.
 */
export function withoutBuiltinImports(code: string): string {
  const result = code
    .replaceAll(NAMED_IMPORT, (_all, names: string, module: string) =>
      takeBuiltin(names.replaceAll(" as ", ":"), module),
    )
    .replaceAll(WHOLE_IMPORT, (_all, name: string, module: string) => takeBuiltin(name, module));
  const [left] = ANY_IMPORT.exec(result) ?? [];
  if (left !== undefined) throw new Error(`Cannot rewrite ${left}`);
  return result;
}

function takeBuiltin(target: string, module: string): string {
  return `const ${target}=process.getBuiltinModule(${module})`;
}

// The Nix package bundles without scripts/build.ts, and has its files rewritten here.
if (import.meta.main) {
  for (const file of process.argv.slice(2)) {
    await writeFile(file, withoutBuiltinImports(await readFile(file, "utf8")));
  }
}
