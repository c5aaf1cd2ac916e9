import { bundle } from "./build.ts";
import { command, installed } from "./command.ts";

const checks: readonly (readonly [name: string, program: string, args: readonly string[]])[] = [
  ["types", installed("tsc"), []],
  ["lint", installed("oxlint"), ["--deny-warnings"]],
  ["format", installed("prettier"), ["--check", "."]],
];

let failed = 0;
for (const [name, program, args] of checks) {
  const exitCode = await command(program, args);
  console.log(`${exitCode === 0 ? "ok    " : "FAILED"} ${name}`);
  if (exitCode !== 0) failed += 1;
}
await bundle();
console.log("ok     bundle");
process.exitCode = failed > 0 ? 1 : 0;
