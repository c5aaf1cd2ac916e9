import assert from "node:assert/strict";
import { access, readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { PassThrough, Readable } from "node:stream";
import { describe, it } from "node:test";

import { exitCodeOf } from "../src/cli/exit-code.ts";
import { run } from "../src/cli/run.ts";
import { parseConfig } from "../src/config/config.ts";
import { HandpickError } from "../src/error.ts";
import type { ErrorCode } from "../src/error.ts";
import { parseManifest } from "../src/nix/manifest.ts";
import { codeBlocks, readProject, ROOT, sections, tableRows } from "./markdown.ts";

const DOCUMENTS = [
  "README.md",
  "ARCHITECTURE.md",
  "CONTRIBUTING.md",
  "CHANGELOG.md",
  ...(await readdir(join(ROOT, "docs"))).map((name) => `docs/${name}`),
];
const texts = new Map<string, string>();
for (const name of DOCUMENTS) texts.set(name, await readProject(name));

const configuration = texts.get("docs/configuration.md") ?? "";
const sources = await readSources();

describe("docs/configuration.md", () => {
  it("has a row and an example for every key of the schema, and for no other", () => {
    const files = ["config/cache-table.ts", "config/schema.ts"];
    const schema = files.map((file) => sources.get(file) ?? "").join("");
    const tables = Array.from(
      schema.matchAll(/^const (\w+)Entries = \{\n([^]*?)^\};/gm),
      ([, table = "", entries = ""]) => ({
        title: table === "cache" ? "`[caches.NAME]`" : `\`[${table}]\``,
        keys: Array.from(entries.matchAll(/^ {2}"?([\w-]+)"?:/gm), ([, key = ""]) => key),
      }),
    );
    assert.equal(tables.length, 4);
    for (const { title, keys } of tables) {
      const section = sections(configuration, 2).get(title) ?? "";
      const documented = tableRows(section).map(([key]) => key);
      assert.deepEqual(documented, keys, title);
      const example = codeBlocks(section, "toml").join("");
      for (const key of keys) assert.match(example, new RegExp(`^${key} = `, "m"));
    }
  });

  it("explains every reason of a plan, and no other", () => {
    const documented = tableRows(sections(configuration, 2).get("Reasons") ?? "");
    const reasons = unionMembers("plan/plan.ts", "ReasonCode");
    assert.deepEqual(
      documented.map(([code]) => code),
      reasons,
    );
  });

  it("names every environment variable that the sources read", () => {
    const documented = sections(configuration, 2).get("Environment") ?? "";
    for (const [file, source] of sources) {
      for (const [, name = ""] of source.matchAll(/env\["([A-Za-z_]+)"\]/g)) {
        assert.ok(documented.includes(`\`${name}\``), `${name} of ${file}`);
      }
    }
  });
});

describe("docs/errors.md", () => {
  const codes = unionMembers("error.ts", "ErrorCode");

  it("explains every error code below its exit code, and no other", () => {
    const documented: string[] = [];
    for (const [group, text] of sections(texts.get("docs/errors.md") ?? "", 2)) {
      const exitCode = /^Exit code (\d+):/.exec(group)?.[1];
      for (const [title, section] of sections(text, 3)) {
        const code = title.replaceAll("`", "");
        documented.push(code);
        assert.equal(String(exitCodeOf(new HandpickError(code as ErrorCode, ""))), exitCode, code);
        assert.ok(section.includes(`\nExit code ${exitCode}. `), `the exit code of ${code}`);
        assert.match(section, /\n\*\*What to do:\*\* \w/, code);
      }
    }
    assert.deepEqual(documented.toSorted(), codes.toSorted());
  });

  it("has only codes that something throws", () => {
    const rest = [...sources].filter(([file]) => !/^error\.ts$/.test(file));
    for (const code of codes) {
      assert.ok(
        rest.some(([, source]) => source.includes(`"${code}"`)),
        code,
      );
    }
  });
});

describe("docs/commands.md", () => {
  const commands = texts.get("docs/commands.md") ?? "";
  const common = ["-c", "--config", "--json", "-q", "--quiet", "-h", "--help"];

  it("wraps the help of each command by its width", async () => {
    for (const name of ["sync", "status", "exec"]) {
      const [before = ""] = (await helpOf(name)).split("\nOptions:");
      const lines = before.split("\n");
      for (const [index, line] of lines.entries()) {
        assert.ok(line.length <= 80, line);
        const next = lines[index + 1] ?? "";
        if (line === "" || next === "") continue;
        const [word = ""] = next.split(" ");
        assert.ok(line.length + 1 + word.length > 80, `${name}: ${line}|${next}`);
      }
    }
  });

  it("documents every command and option of --help, and no other", async () => {
    const documented = [...sections(commands, 2)].filter(([title]) => title.startsWith("`"));
    const [, listed = ""] = (await helpOf()).split("Commands:\n");
    const names = Array.from(listed.matchAll(/^ {2}(\w+) /gm), ([, name = ""]) => name);
    assert.deepEqual(
      documented.map(([title]) => /^`handpick (\w+)/.exec(title)?.[1]),
      names.filter((name) => name !== "help"),
    );
    for (const [title, section] of documented) {
      const [, name = "", parameters = ""] = /^`handpick (\w+)(.*)`$/.exec(title) ?? [];
      const help = await helpOf(name);
      assert.ok(help.startsWith(`Usage: handpick ${name} [options]${parameters}\n`), title);
      const flags = flagsOf(help).filter((flag) => !common.includes(flag));
      for (const flag of flags) assert.match(section, new RegExp(`\`${flag}[\` ]`), title);
      for (const [flag] of section.matchAll(/(?<=^\|[^|]*`)--?\w[\w-]*/gm)) {
        assert.ok(flags.includes(flag), `${title} has no option ${flag}`);
      }
    }
  });

  it("documents the options that all commands have", async () => {
    const [introduction = ""] = commands.split("\n## ");
    for (const flag of [...flagsOf(await helpOf()), ...common]) {
      assert.match(introduction, new RegExp(`[\` ]${flag}[\` ]`));
    }
    for (const flag of common) assert.ok(flagsOf(await helpOf("push")).includes(flag), flag);
  });

  it("names every event of push --json, and no other", () => {
    const section = sections(commands, 2).get("`handpick push [path...]`") ?? "";
    const documented = Array.from(
      section.matchAll(/^\| `([a-z][a-z-]*)` +\|/gm),
      ([, event = ""]) => event,
    );
    const events = ["push/events.ts", "run/events.ts"].flatMap((file) =>
      Array.from(
        (sources.get(file) ?? "").matchAll(/readonly event: "([a-z-]+)"/g),
        ([, event = ""]) => event,
      ),
    );
    assert.deepEqual(documented.toSorted(), events.toSorted());
  });
});

describe("README.md", () => {
  it("tells the memory that parts take by default", () => {
    const [, size = ""] =
      /@default \{(\d+ MiB)\}/.exec(sources.get("push/pack-pool.ts") ?? "") ?? [];
    assert.match(texts.get("README.md") ?? "", new RegExp(`\\| memory for parts.*\\| ${size},`));
    assert.match(texts.get("ARCHITECTURE.md") ?? "", new RegExp(`\`Budget\`, ${size} by default`));
  });
});

/** Rooms that the heading of the table names for all others. */
const EVERYWHERE = ["nix/", "files/"];

describe("ARCHITECTURE.md", () => {
  it("has the import rules of the lint", async () => {
    const { overrides } = JSON.parse(await readProject(".oxlintrc.json")) as Lint;
    const table = sections(texts.get("ARCHITECTURE.md") ?? "", 2).get("Rooms") ?? "";
    const documented = new Map(
      tableRows(table).map(([room = "", rest = ""]) => [
        room,
        rest.match(/\w+\/(?=[ ,]|$)/g) ?? [],
      ]),
    );
    let rooms = 0;
    for (const { files, rules } of overrides) {
      const [, room] = /^src\/(\w+\/)/.exec(files[0] ?? "") ?? [];
      const rule = rules["no-restricted-imports"];
      if (room === undefined || rule === undefined || rule === "off") continue;
      const group = rule[1].patterns.flatMap((pattern) => pattern.group);
      const allowed = group.flatMap((glob) => /^!\.\.\/(\w+\/)\*\*$/.exec(glob)?.[1] ?? []);
      const others = allowed.filter((name) => !EVERYWHERE.includes(name)).toSorted();
      assert.deepEqual(documented.get(room)?.toSorted(), others, room);
      rooms++;
    }
    assert.ok(rooms > 8);
  });

  it("names only files that exist", async () => {
    const architecture = texts.get("ARCHITECTURE.md") ?? "";
    const named = architecture.matchAll(/`([\w/-]+\.(?:ts|nix))`/g);
    const folders = ["src", "test", "nix"].map((dir) =>
      readdir(join(ROOT, dir), { recursive: true, withFileTypes: true }),
    );
    const entries = (await Promise.all(folders)).flat();
    const files = entries.map(({ parentPath, name }) => join(parentPath, name));
    for (const [, name = ""] of named) {
      assert.ok(
        files.some((file) => file.endsWith(`/${name}`)),
        name,
      );
    }
  });
});

describe("the documents", () => {
  for (const [name, text] of texts) {
    it(`have sound examples and links: ${name}`, async () => {
      for (const toml of codeBlocks(text, "toml")) parseConfig(toml, "/handpick.toml");
      for (const json of codeBlocks(text, "json")) {
        const value: unknown = JSON.parse(json);
        assert.ok(typeof value === "object" && value !== null);
        if ("picks" in value) parseManifest(json);
      }
      for (const [, target = ""] of text.matchAll(/\]\((?!https?:)([^)]+)\)/g)) {
        await assertLink(name, target);
      }
    });
  }

  it("are those that the sources point to", () => {
    for (const [file, source] of sources) {
      for (const [document] of source.matchAll(/docs\/[\w-]+\.md/g)) {
        assert.ok(texts.has(document), `${document} in ${file}`);
      }
    }
  });
});

interface Lint {
  readonly overrides: readonly {
    readonly files: readonly string[];
    readonly rules: {
      readonly "no-restricted-imports"?:
        | readonly [string, { readonly patterns: readonly { readonly group: readonly string[] }[] }]
        | "off";
    };
  }[];
}

/** All sources but tests, by their name below `src/`. */
async function readSources(): Promise<Map<string, string>> {
  const files = await readdir(join(ROOT, "src"), { recursive: true });
  const chosen = files.filter((file) => file.endsWith(".ts") && !file.endsWith(".test.ts"));
  const read = chosen.map(async (file) => [file, await readProject(`src/${file}`)] as const);
  return new Map(await Promise.all(read));
}

/** The members of a union of strings, which leaves no value to ask at run time. */
function unionMembers(file: string, name: string): string[] {
  const source = (sources.get(file) ?? "").replaceAll(/\/\/.*$/gm, "");
  const [, union = ""] = new RegExp(`export type ${name} =([^;]*);`).exec(source) ?? [];
  const members = Array.from(union.matchAll(/"([^"]+)"/g), ([, member = ""]) => member);
  assert.ok(members.length > 10, `${name} of ${file}`);
  return members;
}

async function helpOf(...command: string[]): Promise<string> {
  const stdout = new PassThrough();
  const exitCode = await run([...command, "--help"], {
    env: {},
    cwd: ROOT,
    uid: 0,
    stdin: Readable.from([]),
    stdout,
    stderr: new PassThrough(),
    signal: new AbortController().signal,
  });
  assert.equal(exitCode, 0);
  return String(stdout.read());
}

/** Every spelling of every option in a help text. */
function flagsOf(help: string): string[] {
  const lines = help.matchAll(/^ {2}(?:(-\w), )?(--[\w-]+)/gm);
  return [...lines].flatMap(([, short, long = ""]) => (short === undefined ? long : [short, long]));
}

/** The file has to be there, and the heading in it. */
async function assertLink(document: string, target: string): Promise<void> {
  const [path = "", anchor] = target.split("#");
  const file = path === "" ? document : join(dirname(document), path);
  await access(join(ROOT, file));
  if (anchor === undefined) return;
  const headings = [...(texts.get(file) ?? "").matchAll(/^#+ (.*)$/gm)].map(([, title = ""]) =>
    title
      .toLowerCase()
      .replaceAll(/[^\w\- ]/g, "")
      .replaceAll(" ", "-"),
  );
  assert.ok(
    headings.includes(anchor),
    `${document} links to ${target}, there is ${headings.join()}`,
  );
}
