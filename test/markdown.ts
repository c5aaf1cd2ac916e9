import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

/** The project's root folder. */
export const ROOT: string = fileURLToPath(new URL("..", import.meta.url));

/** Reads a file of the project, named from its root. */
export async function readProject(file: string): Promise<string> {
  return readFile(new URL(`../${file}`, import.meta.url), "utf8");
}

/** The contents of the fenced blocks in one language. */
export function codeBlocks(markdown: string, language: string): string[] {
  const fence = new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, "gm");
  return Array.from(markdown.matchAll(fence), ([, text = ""]) => text);
}

/** The text below each heading of one level, up to the next heading of that level or above. */
export function sections(markdown: string, level: number): Map<string, string> {
  const found = new Map<string, string>();
  let title: string | undefined;
  let isCode = false;
  for (const line of markdown.split("\n")) {
    if (line.startsWith("```")) isCode = !isCode;
    const [, marks = "", text = ""] = (isCode ? null : /^(#+) (.*)$/.exec(line)) ?? [];
    if (marks !== "" && marks.length <= level) title = undefined;
    if (marks.length === level) title = text;
    if (title !== undefined) found.set(title, `${found.get(title) ?? ""}${line}\n`);
  }
  return found;
}

/** The cells of a text's only table, without its head and without code marks. */
export function tableRows(markdown: string): string[][] {
  const [, , ...rows] = markdown.split("\n").filter((line) => line.startsWith("|"));
  return rows.map((row) =>
    row
      .slice(1, -1)
      .split(/(?<!\\)\|/)
      .map((cell) => cell.trim().replaceAll("`", "")),
  );
}
