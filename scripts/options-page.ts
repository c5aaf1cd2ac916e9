import { resolve } from "node:path";
import { format } from "prettier";

import { ROOT } from "./command.ts";

/** An option of a module, as nix/modules/options-list.nix tells it. */
export interface Option {
  readonly name: string;
  readonly description: string;
  readonly type: string;
  /** Nix code; null if it has to be set. */
  readonly default: string | null;
  /** Nix code. */
  readonly example: string | null;
}

/** The options of each system. */
export type OptionLists = Readonly<Record<string, readonly Option[]>>;

const SYSTEMS = ["home-manager", "NixOS", "nix-darwin"];
const INTRODUCTION = `# Options of the modules

[home-manager](home-manager.md), [NixOS](nixos.md) and [nix-darwin](nix-darwin.md) have the same options,
unless one says otherwise. \`scripts/options.ts\` writes this page; a test holds it to the modules.
`;

/** A Nix expression for the options, with the \`lib\` that is in \`folder\`. */
export function optionsExpression(folder: string): string {
  const list = JSON.stringify(resolve(ROOT, "nix/modules/options-list.nix"));
  return `import ${list} { lib = import ${JSON.stringify(resolve(folder, "lib"))}; }`;
}

/** The text of docs/options.md. */
export async function optionsPage(lists: OptionLists): Promise<string> {
  const byName = new Map<string, Map<string, Option>>();
  for (const system of SYSTEMS) {
    for (const option of lists[system] ?? []) {
      const variants = byName.get(option.name) ?? new Map<string, Option>();
      byName.set(option.name, variants.set(system, option));
    }
  }
  const names = [...byName.keys()].toSorted((a, b) => (a < b ? -1 : 1));
  const parts = names.map((name) => optionSection(name, byName.get(name) ?? new Map()));
  const text = [INTRODUCTION, ...parts].join("\n");
  return await format(text, { parser: "markdown", printWidth: 100 });
}

function optionSection(name: string, variants: ReadonlyMap<string, Option>): string {
  const same = new Map<string, string[]>();
  for (const [system, option] of variants) {
    const text = optionText(option);
    same.set(text, [...(same.get(text) ?? []), system]);
  }
  const texts = [...same].map(([text, systems]) =>
    systems.length === SYSTEMS.length ? text : `${systems.join(" and ")} only:\n\n${text}`,
  );
  return `## \`${name}\`\n\n${texts.join("\n")}`;
}

function optionText({ description, type, default: usual, example }: Option): string {
  const facts = [
    `- Type: ${type}`,
    `- Default: ${usual === null ? "none, it has to be set" : `\`${oneLine(usual)}\``}`,
  ];
  const shown = example === null ? "" : `\nExample:\n\n\`\`\`nix\n${example.trim()}\n\`\`\`\n`;
  return `${description.trim()}\n\n${facts.join("\n")}\n${shown}`;
}

function oneLine(code: string): string {
  return code.trim().replaceAll(/\s+/g, " ");
}
