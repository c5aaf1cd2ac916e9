import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { access, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { assertRefused } from "./bad-input.ts";
import { BUNDLE, handpick, resultOf, startHandpick } from "./handpick.ts";
import { createTestNix } from "./nix.ts";
import type { TestNix } from "./nix.ts";

type Cases = readonly (readonly [text: string | Uint8Array, message: RegExp])[];

const CACHE = '[caches.mine]\nurl = "cachix://mine"\nhost = "http://127.0.0.1:1"\n';
const RED = "\u001b[31m";

describe("what a user writes", { timeout: 120_000 }, () => {
  let nix: TestNix;
  let path: string;
  before(async () => {
    nix = await createTestNix({ root: true });
    path = await nix.add("lib", "library");
    await mkdir(join(nix.dir, "folder"));
  });
  after(() => nix[Symbol.asyncDispose]());

  /** Runs each text as a file of its own, two at a time. */
  async function refuseAll(
    cases: Cases,
    code: string,
    args: (file: string) => string[] | Promise<string[]>,
  ): Promise<void> {
    const queue = cases.entries();
    const work = async (): Promise<void> => {
      for (const [index, [text, message]] of queue) {
        const file = `${code}-${index}`;
        await writeFile(join(nix.dir, file), text, { mode: 0o600 });
        const result = await handpick(nix, await args(file), { uncovered: true });
        assertRefused(result, { status: 2, code, message });
      }
    };
    await Promise.all([work(), work()]);
  }

  it("as configuration is refused with file, line, column and the key that was meant", async () => {
    const cases: Cases = [
      [
        `${CACHE}compresion = "zstd"\n`,
        /:4:1: caches\.mine\.compresion .* did you mean "compression"\?$/,
      ],
      [`[cache.mine]\nurl = "x"\n`, /:1:2: cache is not a key .* did you mean "caches"\?$/],
      [
        `${CACHE}[rules]\n  on-hole = "fial"\n`,
        /:5:3: rules\.on-hole must be one of .*, found "fial"$/,
      ],
      [
        `${CACHE}compression-level = "9"\n`,
        /:4:1: .*compression-level must be a number, found a string$/,
      ],
      [
        `${CACHE}upstreams = ["http://a", 5]\n`,
        /:4:1: .*upstreams\[1\] must be a string, found a number$/,
      ],
      [`caches = { mine = { hst = "x" } }\n`, /:1:21: caches\.mine\.hst .* did you mean "host"\?$/],
      [`${CACHE}token-env = T\n`, /:4:13: invalid value$/],
      [`${CACHE}token-env = "T\n`, /:4:15: control characters are not allowed in strings$/],
      [`${CACHE}${CACHE}`, /:4:2: trying to redefine an already defined table/],
      [`${CACHE}x = ${"[".repeat(5_000)}`, /:4:\d+: document contains excessively nested/],
      ["__proto__ = 1\n", /:1:1: document contains an unsafe property$/],
      [`"${String.raw`\u001b`}[31mred" = 1\n`, /"\\u001b\[31mred" is not a key/],
      ["<html>", /:1:1: illegal character in key$/],
      ["[caches.mine]\n", /:1:9: caches\.mine needs the key "url"$/],
    ];
    await refuseAll(cases, "CONFIG_INVALID", (file) => ["plan", "--config", file, path]);
    const unreadable: Cases = [
      [Uint8Array.of(0xff, 0xfe), /: it is not UTF-8 text$/],
      ["#".repeat(300_000), /: it is larger than 262144 bytes$/],
    ];
    await refuseAll(unreadable, "CONFIG_UNREADABLE", (file) => ["plan", "--config", file, path]);
  });

  it("as a configuration that is not there is refused by every command", async () => {
    const commands = [
      ["push", path],
      ["plan", path],
      ["sync"],
      ["status"],
      ["exec", "-i", "x", "--", "true"],
      ["watch"],
      ["pin", "name", path],
      ["keygen", "--out", "never.sec", "never-1"],
      ["doctor"],
      ["serve", "--listen", "127.0.0.1:0"],
    ];
    // That of root is not below the home of the test.
    const state = { HANDPICK_STATE_DIR: join(nix.dir, "state") };
    for (const [name = "", ...rest] of commands) {
      const result = await handpick(nix, [name, "-c", "nothere.toml", ...rest], {
        env: state,
        uncovered: true,
      });
      assert.equal(result.status, 2, `${name}: ${result.stderr}`);
      const said = result.stdout + result.stderr;
      assert.match(said, /Cannot read configuration \S+\/nothere\.toml: it does not exist/, name);
    }
    await assert.rejects(access(join(nix.dir, "never.sec")));
  });

  it("as manifest is refused with the place in the document", async () => {
    const manifest = (fields: object): string =>
      JSON.stringify({ version: 1, name: "x", picks: [], ...fields });
    const pick = (fields: object): string =>
      manifest({ picks: [{ name: "a", paths: [path], ...fields }] });
    const cases: Cases = [
      [manifest({ version: 0 }), /: version: expected 1, found 0$/],
      ["{ version = 1; }", /: not JSON: /],
      [manifest({}).slice(0, -1), /: not JSON: /],
      [manifest({ picks: {} }), /: picks: expected a list .*, found an object$/],
      [pick({ paths: ["/etc/passwd"] }), /paths\[0\]: expected a store path in \/nix\/store/],
      [pick({ paths: [`${path}/../../etc`] }), /paths\[0\]: expected a store path/],
      [pick({ path }), /unknown key "picks\[0\]\.path", nearest is "paths"$/],
      [pick({ name: `${RED}red` }), /name: expected 1 to 255 printable characters, found "\\u001b/],
      [`{"version":1,"name":"x","picks":${"[".repeat(200_000)}`, /: not JSON: /],
      [`{"version":1,"name":"${"x".repeat(16 << 20)}"}`, /: it is larger than 16 MiB$/],
      [manifest({}).replace("{", '{"__proto__":{},'), /unknown key "__proto__"/],
    ];
    await refuseAll(cases, "MANIFEST_INVALID", (file) => ["plan", "--to", "cachix://x", file]);
    const gone = pick({ paths: ["/nix/store/00000000000000000000000000000000-x"] });
    await refuseAll(
      [[gone, /pick "a": .* is not valid in the Nix store$/]],
      "PATH_NOT_VALID",
      (file) => ["plan", "--to", "cachix://x", file],
    );
  });

  it("as token or key is refused without being shown", async () => {
    const config = async (line: string): Promise<string[]> => {
      const file = `${line.replaceAll(/\W+/g, "-")}.toml`;
      await writeFile(join(nix.dir, file), `${CACHE}${line}\n`);
      return ["push", "--config", file, path];
    };
    const withFile = (key: string, code: string, cases: Cases): Promise<void> =>
      refuseAll(cases, code, (file) => config(`${key} = "${file}"`));
    await withFile("token-file", "CONFIG_INVALID", [
      ["abc\u0000def", /must be one word of visible ASCII$/],
      ["two words", /must be one word of visible ASCII$/],
    ]);
    await withFile("token-file", "CONFIG_UNREADABLE", [
      ["a".repeat(1 << 20), /: it is larger than 65536 bytes$/],
      [Uint8Array.of(0xff, 0xfe), /: it is not UTF-8 text$/],
    ]);
    await withFile("signing-key-file", "KEY_INVALID", [
      ["mine-1:AAAA", /: expected 64 bytes, found 3$/],
      ["not a key!", /: expected "name:base64" or base64$/],
      [`mine-1:${Buffer.alloc(64, 1).toString("base64")}`, /its public half does not belong/],
      ["\r\n", /: it is empty$/],
    ]);
    const kinds = [
      ['token-file = "folder"', 2, "CONFIG_UNREADABLE", /: it is a folder$/],
      ['token-file = "nowhere"', 3, "TOKEN_MISSING", /: it does not exist$/],
      ['token-file = "/dev/null"', 3, "TOKEN_MISSING", /: it is empty$/],
      ['token-file = "/dev/zero"', 2, "CONFIG_UNREADABLE", /: it is larger than 65536 bytes$/],
      ['signing-key-file = "nowhere"', 2, "CONFIG_UNREADABLE", /: it does not exist$/],
    ] as const;
    for (const [line, status, code, message] of kinds) {
      assertRefused(await handpick(nix, await config(line), { uncovered: true }), {
        status,
        code,
        message,
      });
    }
  });

  it("as token may come through a pipe, which is waited for no longer than Ctrl-C", async () => {
    await writeFile(join(nix.dir, "pipe.toml"), `${CACHE}token-file = "/dev/fd/3"\n`);
    // A writer that takes its time, as one that asks its user for a password.
    const line = `{ sleep 0.2; printf 'abc\\r\\n'; } | "$0" "$1" doctor --config pipe.toml 3<&0`;
    const words = ["-c", line, process.execPath, BUNDLE];
    const piped = await nix.run("sh", words, { allowFailure: true });
    assert.match(piped.stdout, /credentials: token from file \/dev\/fd\/3$/m);

    execFileSync("mkfifo", [join(nix.dir, "fifo")]);
    await writeFile(join(nix.dir, "fifo.toml"), `${CACHE}token-file = "fifo"\n`);
    const child = startHandpick(nix, ["push", "--config", "fifo.toml", path]);
    const ended = resultOf(child);
    // A writer gets in only once the pipe is being read.
    execFileSync("sh", ["-c", "exec 3> fifo"], { cwd: nix.dir, timeout: 10_000 });
    const startMs = performance.now();
    child.kill("SIGINT");
    const { status, stderr } = await ended;
    assert.deepEqual([status, stderr.trim()], [130, "handpick: interrupted"]);
    assert.ok(performance.now() - startMs < 3_000);
  });

  it("as path or name is refused with what to say instead", async () => {
    const store = "NOT_A_STORE_PATH";
    const cases: readonly (readonly [string[], string, RegExp, RegExp])[] = [
      [["push", ""], store, /it is empty$/, /^Name a store path/],
      [["push", "/usr"], store, /outside of the Nix store/, /^Name a store path/],
      [["push", "/nix/store/x"], store, /"x" is not the base name/, /^Copy the whole name/],
      [["push", path.slice("/nix/store/".length)], store, /does not exist/, /^Did you mean \/nix/],
      [
        ["push", `./a${RED}\u202e`],
        store,
        /"\.\/a\\u001b\[31m\\u202e": it does not exist$/,
        /^Build/,
      ],
      [["push", `${path}x`], "PATH_NOT_VALID", /is not valid in the Nix store$/, /^Build it/],
      [["push", "--store", "ssh://h", path], "STORE_UNSUPPORTED", /"ssh:\/\/h"/, /^Use auto/],
      [["push", "--store", "/nowhere", path], "STORE_UNAVAILABLE", /found none/, /^Install Nix/],
      [["pin", "", path], "USAGE", /Cannot name a pin ""$/, /printable/],
      [["pin", "a\nb", path], "USAGE", /Cannot name a pin "a\\nb"$/, /printable/],
      [["serve", "--upstream", "nope"], "USAGE", /upstream "nope"/, /^For example https:/],
      [["push", path], "CACHE_UNKNOWN", /none is configured$/, /^Pass --to cachix:\/\/NAME/],
    ];
    for (const [args, code, message, hint] of cases) {
      const result = await handpick(nix, args, { uncovered: true });
      assertRefused(result, { status: 2, code, message });
      assert.match(result.stderr.split("\n").at(-2)?.trim() ?? "", hint);
    }
  });
});
