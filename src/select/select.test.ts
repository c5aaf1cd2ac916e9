import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmod, mkdir, open, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { createTestNix, type TestNix, TOY_PACKAGES } from "../../test/nix.ts";
import { asOrdinaryUser } from "../../test/ordinary-user.ts";
import { isStorePath, nameOf, parseStorePath, type StorePath } from "../nix/store-path.ts";
import { openStore } from "../store/open-store.ts";
import type { Store } from "../store/store.ts";
import { readManifestFile } from "./manifest-file.ts";
import { parseStdin, selectPicks } from "./select.ts";

const ABSENT = "00000000000000000000000000000000-absent-1.0";

describe("parseStdin()", () => {
  it("takes words between any white space", () => {
    assert.deepEqual(parseStdin(" a\nb\t c\r\n\n"), ["a", "b", "c"]);
    assert.deepEqual(parseStdin("\n"), []);
  });
});

describe("selectPicks()", () => {
  let nix: TestNix;
  let store: Store;
  let app: StorePath;
  let dev: StorePath;
  let derivation: StorePath;
  let work: string;

  before(async () => {
    nix = await createTestNix();
    const built = await nix.build(TOY_PACKAGES, { attr: "app" });
    const paths = built.map((path) => parseStorePath(path, nix.storeDir)).toSorted();
    const found = [paths.find((p) => !p.endsWith("-dev")), paths.find((p) => p.endsWith("-dev"))];
    assert.ok(found[0] !== undefined && found[1] !== undefined);
    [app, dev] = [found[0], found[1]];
    const { stdout } = await nix.run("nix-store", ["--query", "--deriver", app]);
    derivation = parseStorePath(stdout.trim(), nix.storeDir);
    work = join(nix.dir, "work");
    await mkdir(work);
    store = await openStore({ env: nix.env });
  });
  after(async () => {
    await store?.close();
    await nix?.[Symbol.asyncDispose]();
  });

  const select = (
    inputs: readonly string[],
    signal = new AbortController().signal,
  ): ReturnType<typeof selectPicks> =>
    selectPicks(inputs, { store, cwd: work, env: nix.env, signal });
  /** Selects what is to be rejected, and throws why. */
  const reject = async (input: string, signal?: AbortSignal): Promise<void> => {
    const { picks, rejected } = await select([input], signal);
    assert.deepEqual(picks, []);
    assert.deepEqual(
      rejected.map((one) => one.input),
      [input],
    );
    throw rejected[0]?.error;
  };
  const pick = (name: string, ...paths: StorePath[]): object => ({
    name,
    paths,
    closure: "runtime",
    caches: undefined,
    exclude: [],
    pin: undefined,
  });

  it("takes store paths and what lies below them, each once", async () => {
    const { picks } = await select([app, `${app}/bin/app`, `${app}/`, dev]);
    assert.deepEqual(picks, [pick("app", app), pick("app", dev)]);
  });

  it("follows links, links to links and links to what lies below", async () => {
    await symlink(app, join(work, "result"));
    await symlink("result", join(work, "profile"));
    await symlink(join(app, "bin"), join(work, "bin"));
    const { picks } = await select(["./result", "result", "profile", "bin", "result/bin/app"]);
    assert.deepEqual(picks, [pick("app", app)]);
  });

  it("takes a derivation for its valid outputs", async () => {
    const { picks } = await select([derivation]);
    assert.deepEqual(picks, [pick("app", ...[app, dev].toSorted())]);
  });

  it("names picks as Nix splits name and version", async () => {
    const names = ["hello-2.12", "lib-a", "nixos-system-x-24.05", "foo-1.0-dev", "a-"];
    const paths = await Promise.all(names.map((name) => nix.add(name, name)));
    const { picks } = await select(paths);
    assert.deepEqual(
      picks.map(({ name }) => name),
      ["hello", "lib-a", "nixos-system-x", "foo", "a-"],
    );
  });

  it("takes the picks of a manifest in the store, behind a link and elsewhere", async () => {
    const absent = `${nix.storeDir}/${ABSENT}`;
    const picks = [{ ...pick("some", parseStorePath(absent, nix.storeDir)), closure: "self" }];
    const declared = picks.map((one) => ({ ...one, selection: "m" }));
    const text = JSON.stringify({ version: 1, name: "m", picks });
    const inStore = await nix.add("m.json", text);
    await symlink(inStore, join(work, "manifest"));
    await writeFile(join(work, "own.json"), text);
    for (const input of [inStore, "manifest", "./own.json"]) {
      assert.deepEqual((await select([input])).picks, declared, input);
    }
    assert.deepEqual((await select([app, inStore])).picks, [pick("app", app), ...declared]);
  });

  it("takes the picks of a manifest that comes through a pipe", async () => {
    const pipe = join(work, "pipe");
    execFileSync("mkfifo", [pipe]);
    const json = { version: 1, name: "m", picks: [{ name: "piped", paths: [app] }] };
    const writing = writeFile(pipe, JSON.stringify(json));
    assert.deepEqual((await select(["./pipe"])).picks, [{ ...pick("piped", app), selection: "m" }]);
    await writing;
    const other = writeFile(pipe, `${app}\n`);
    await assert.rejects(reject("pipe"), { code: "NOT_A_STORE_PATH", hint: /--stdin/ });
    await other;
    const given = AbortSignal.abort(new Error("enough"));
    await assert.rejects(select(["pipe"], given), { message: "enough" });
    const long = writeFile(pipe, "{".repeat((16 << 20) + 1)).catch(() => undefined); // EPIPE
    await assert.rejects(reject("pipe"), {
      code: "FILE_UNUSABLE",
      message: /^Cannot read .*: it is larger than 16777216 bytes$/,
    });
    await long;
    const message = /it is a device, and a manifest has to be a file or come through a pipe/;
    await assert.rejects(reject("/dev/null"), { code: "NOT_A_STORE_PATH", message });
  });

  it("waits for no pipe that a store path leads to", { timeout: 10_000 }, async () => {
    const baseName = `${"1".repeat(32)}-leads-away`;
    await symlink(join(work, "pipe"), join(nix.storeDir, baseName));
    const file = join(nix.storeDir, baseName);
    const options = { storeDir: nix.storeDir, isStorePath: true };
    assert.equal(await readManifestFile(file, options), undefined);
    await rm(file);
  });

  it("takes other files of the store as paths, JSON objects too", async () => {
    for (const text of ["", "{", '{"version":1}', "[]", "plain"]) {
      const path = parseStorePath(await nix.add("data.json", text), nix.storeDir);
      assert.deepEqual((await select([path])).picks, [pick("data.json", path)]);
    }
  });

  it("refuses what is meant as a manifest and is none", async () => {
    await writeFile(join(work, "bad.json"), '{"version":1,"name":"m","picks":[{"name":"a"}]}');
    await assert.rejects(reject("bad.json"), {
      code: "MANIFEST_INVALID",
      message: /bad\.json: picks\[0\]\.paths: /,
    });
  });

  it("names a file that may not be read, and leaves such a store path to the push", async () => {
    await writeFile(join(work, "closed.json"), "{}");
    await chmod(join(work, "closed.json"), 0);
    const path = parseStorePath(await nix.add("closed", "x"), nix.storeDir);
    await chmod(path, 0);
    await asOrdinaryUser(async () => {
      const refused = { code: "FILE_UNUSABLE", message: /closed\.json: permission denied$/ };
      await assert.rejects(reject("closed.json"), refused);
      assert.deepEqual((await select([path])).picks, [pick("closed", path)]);
    });
  });

  it("says where a file of ours that begins as JSON goes wrong", async () => {
    const cases = [
      ['{"version":1,', /m7\.json: not JSON: .* position 13/],
      ["\n  { notes }", /m7\.json: not JSON: .* position 5/],
      ['{"version":1}', /m7\.json: picks: expected a list/],
    ] as const;
    for (const [text, message] of cases) {
      await writeFile(join(work, "m7.json"), text);
      await assert.rejects(reject("m7.json"), { code: "MANIFEST_INVALID", message }, text);
    }
  });

  it("sends who has a manifest of a later version for a newer handpick", async () => {
    const text = '{"version":2,"name":"m","picks":[],"only":["x"]}';
    await writeFile(join(work, "later.json"), text);
    for (const input of ["later.json", await nix.add("later.json", text)]) {
      await assert.rejects(reject(input), {
        code: "MANIFEST_INVALID",
        message: /later\.json: version: expected 1, found 2$/,
        hint: /^It needs a newer handpick/,
      });
    }
  });

  it("takes a path that exists for a path, whatever it looks like", async () => {
    for (const name of ["a#b", "x:y"]) {
      await symlink(app, join(work, name));
      assert.deepEqual((await select([name])).picks, [pick("app", app)]);
    }
  });

  it("tells first users what to do", async () => {
    await symlink(`${nix.storeDir}/${ABSENT}`, join(work, "dangling"));
    await symlink("loop", join(work, "loop"));
    await writeFile(join(work, "notes.txt"), "my notes");
    const cases: [input: string, code: string, message: string | RegExp, hint: RegExp][] = [
      ["./missing", "NOT_A_STORE_PATH", 'Cannot select "./missing": it does not exist', /^Build f/],
      ["hello", "NOT_A_STORE_PATH", 'Cannot select "hello": it does not exist', /nixpkgs#hello/],
      [
        "dangling",
        "NOT_A_STORE_PATH",
        'Cannot select "dangling": it is a link to nothing',
        /again/,
      ],
      [
        "loop",
        "NOT_A_STORE_PATH",
        /"loop": it cannot be reached: links lead in a circle$/,
        /folder/,
      ],
      ["notes.txt/x", "NOT_A_STORE_PATH", /reached: a file is in its way$/, /folder/],
      ["a\0b", "NOT_A_STORE_PATH", /"a\\u0000b": .* reached: the name holds a null byte$/, /name/],
      [
        "n".repeat(1e6),
        "NOT_A_STORE_PATH",
        /^Cannot select "n{80}…": it cannot be reached: the name is too long$/,
        /name/,
      ],
      [".", "NOT_A_STORE_PATH", /it is a folder outside of the Nix store/, /\.\/result/],
      ["", "NOT_A_STORE_PATH", 'Cannot select "": it is empty', /\.\/result/],
      [ABSENT, "NOT_A_STORE_PATH", /it does not exist$/, /^Did you mean \/.*-1\.0\?$/],
      ["notes.txt", "NOT_A_STORE_PATH", /it is a file outside .* and no manifest$/, /\.\/result/],
      [`${nix.storeDir}/hello`, "NOT_A_STORE_PATH", /"hello" is not the base name/, /whole name/],
      [nix.storeDir, "NOT_A_STORE_PATH", /it is a folder outside of/, /store path/],
      [`${nix.storeDir}/${ABSENT}`, "PATH_NOT_VALID", /absent-1\.0 is not valid in/, /--realise/],
    ];
    for (const [input, code, message, hint] of cases) {
      await assert.rejects(reject(input), { code, message, hint }, input);
    }
  });

  it("takes chosen outputs of a derivation", async () => {
    for (const [spelling, ...paths] of [
      ["^out", app],
      ["^dev", dev],
      ["!out", app],
      ["^out,dev", app, dev],
      ["^*", ...[app, dev].toSorted()],
    ] as const) {
      assert.deepEqual((await select([`${derivation}${spelling}`])).picks, [pick("app", ...paths)]);
    }
    await symlink(derivation, join(work, "app.drv"));
    assert.deepEqual((await select(["./app.drv^dev"])).picks, [pick("app", dev)]);
    const code = "NOT_A_STORE_PATH";
    await assert.rejects(reject(`${derivation}^doc`), {
      code,
      hint: /^It has (?:dev, out|out, dev)/,
    });
    await assert.rejects(reject(`${app}^out`), { code, message: /is no derivation/ });
    await assert.rejects(reject("./missing.drv^out"), { code, message: /does not exist/ });
  });

  it("selects the other inputs beside one that it rejects", async () => {
    const { picks, rejected } = await select(["./missing", app, `${nix.storeDir}/${ABSENT}`, dev]);
    assert.deepEqual(picks, [pick("app", app), pick("app", dev)]);
    assert.deepEqual(
      rejected.map(({ input, error }) => [input, error.code]),
      [
        ["./missing", "NOT_A_STORE_PATH"],
        [`${nix.storeDir}/${ABSENT}`, "PATH_NOT_VALID"],
      ],
    );
  });

  it("refuses a derivation none of whose outputs is here", async () => {
    const file = join(work, "tool.nix");
    await writeFile(file, TOY_PACKAGES);
    const { stdout } = await nix.run("nix-instantiate", [file, "-A", "tool"]);
    const path = stdout.trim().replace(/!.*/, "");
    await assert.rejects(reject(path), {
      code: "PATH_NOT_VALID",
      message: /: none of its outputs is valid$/,
    });
  });

  it("finds logical paths in a chroot store", async () => {
    await using chroot = await createTestNix({ root: true });
    const path = await chroot.add("hello-1", "hi");
    await using inner = await openStore({ env: chroot.env });
    const link = join(chroot.dir, "result");
    await symlink(path, link);
    const options = { store: inner, cwd: work, env: chroot.env };
    const { signal } = new AbortController();
    const { picks } = await selectPicks([path, link], { ...options, signal });
    assert.deepEqual(picks, [pick("hello", parseStorePath(path))]);
  });

  describe("with installables", () => {
    const system = `${process.arch === "arm64" ? "aarch64" : "x86_64"}-${process.platform}`;
    const flake = (script: string): string => `{
      outputs = { self }: {
        packages.${system}.toy = derivation {
          name = "toy-1.5";
          system = "${system}";
          builder = "/bin/sh";
          PATH = "/bin:/usr/bin:/run/current-system/sw/bin";
          args = [ "-c" "${script}" ];
        };
      };
    }`;
    const writeFlake = async (name: string, script: string): Promise<string> => {
      await mkdir(join(work, name));
      await writeFile(join(work, name, "flake.nix"), flake(script));
      return `path:./${name}#toy`;
    };

    it("builds them and takes what they print", async () => {
      const { picks } = await select([await writeFlake("good", "echo toy > $out")]);
      assert.equal(picks.length, 1);
      assert.equal(picks[0]?.name, "toy");
      assert.ok(isStorePath(picks[0]?.paths[0] ?? "", nix.storeDir));
      assert.deepEqual(await store.validPaths(picks[0]?.paths ?? []), new Set(picks[0]?.paths));
    });

    it("builds the outputs that are chosen of them", async () => {
      await mkdir(join(work, "multi"));
      const text = `{ outputs = { self }: { packages.${system}.multi = derivation {
        name = "multi-1.5"; system = "${system}"; builder = "/bin/sh"; outputs = [ "out" "dev" "doc" ];
        args = [ "-c" "echo 1 > $out; echo 2 > $dev; echo 3 > $doc" ];
      }; }; }`;
      await writeFile(join(work, "multi", "flake.nix"), text);
      const namesOf = async (spelling: string): Promise<string[]> => {
        const { picks } = await select([`path:./multi#multi${spelling}`]);
        return picks.flatMap(({ paths }) => paths.map(nameOf));
      };
      assert.deepEqual(await namesOf(""), ["multi-1.5"]);
      assert.deepEqual(await namesOf("^dev"), ["multi-1.5-dev"]);
      assert.deepEqual((await namesOf("^dev,doc")).toSorted(), ["multi-1.5-dev", "multi-1.5-doc"]);
      assert.equal((await namesOf("^*")).length, 3);
      await assert.rejects(reject("path:./multi#multi^none"), { code: "INSTALLABLE_FAILED" });
    });

    it("says that a build failed", async () => {
      await assert.rejects(reject(await writeFlake("bad", "exit 1")), {
        code: "INSTALLABLE_FAILED",
        message: 'Cannot build "path:./bad#toy": nix build ended with 1',
      });
    });

    it("stops nix when aborted", async () => {
      const aborter = new AbortController();
      const fifo = join(work, "started");
      await nix.run("mkfifo", [fifo]);
      await using pipe = await open(fifo, "r+");
      const input = await writeFlake("slow", `echo $$ > ${fifo}; sleep 60`);
      const selecting = select([input], aborter.signal);
      // Should nix fail before the builder writes, this ends the wait.
      const ended = selecting.catch(() => pipe.write("failed"));
      const { buffer, bytesRead } = await pipe.read();
      aborter.abort(new Error("enough"));
      await assert.rejects(selecting, { message: "enough" });
      await ended;
      const builder = Number(buffer.toString("utf8", 0, bytesRead));
      assert.ok(builder > 0);
      assert.throws(() => process.kill(builder, 0), { code: "ESRCH" });
    });

    it("starts nothing once aborted", async () => {
      const reason = new Error("enough");
      await assert.rejects(select([".#x"], AbortSignal.abort(reason)), reason);
    });

    it("passes the input on as one argument and takes only paths of the store", async () => {
      const bin = join(work, "fake-bin");
      await mkdir(bin);
      const { signal } = new AbortController();
      const attempt = async (PATH: string): ReturnType<typeof selectPicks> => {
        const selected = await selectPicks([input], { store, cwd: work, env: { PATH }, signal });
        if (selected.rejected[0] !== undefined) throw selected.rejected[0].error;
        return selected;
      };
      const run = async (script: string): ReturnType<typeof selectPicks> => {
        await writeFile(join(bin, "nix"), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
        return attempt(`${bin}:/bin:/usr/bin`);
      };
      const print = (json: string): string => `cat <<'END'\n${json}\nEND`;
      const input = "x#b; $(c)";
      const check = `for last; do :; done; test "$last" = 'x#b; $(c)' || exit 7`;
      const built = `[{"outputs":{"out":"${app}","dev":"${dev}"}}]`;
      const { picks } = await run(`${check}\n${print(built)}`);
      assert.deepEqual(picks, [pick("app", app, dev)]);
      for (const json of [`["${app}"]`, `[{"path":"${app}"}]`]) {
        assert.deepEqual((await run(print(json))).picks, [pick("app", app)]);
      }
      for (const json of [
        "",
        "[]",
        "{}",
        "[{}]",
        "[null]",
        "[1]",
        '["/etc/passwd"]',
        "x".repeat(9),
      ]) {
        await assert.rejects(run(print(json)), {
          code: "INSTALLABLE_FAILED",
          message: /nix printed another thing than its results$/,
        });
      }
      await assert.rejects(run("exec yes"), {
        code: "INSTALLABLE_FAILED",
        message: /nix build ended with SIG(TERM|PIPE)$/,
      });
      await rm(bin, { recursive: true });
      await assert.rejects(attempt(bin), {
        code: "INSTALLABLE_FAILED",
        message: /: nix is not on PATH$/,
        hint: /^Install Nix/,
      });
    });
  });
});
