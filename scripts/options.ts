// Writes docs/options.md: `node scripts/options.ts FOLDER`, where FOLDER has the `lib` of nixpkgs.
import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

import { ROOT } from "./command.ts";
import { type OptionLists, optionsExpression, optionsPage } from "./options-page.ts";

const [folder] = process.argv.slice(2);
if (folder === undefined) throw new Error("Name a folder with the lib of nixpkgs");
const { stdout } = await promisify(execFile)("nix-instantiate", [
  "--eval",
  "--strict",
  "--json",
  "--readonly-mode",
  "-E",
  optionsExpression(folder),
]);
const file = join(ROOT, "docs/options.md");
await writeFile(file, await optionsPage(JSON.parse(stdout) as OptionLists));
console.log(file);
