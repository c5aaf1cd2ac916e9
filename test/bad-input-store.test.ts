import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, before, describe, it } from "node:test";

import { WireWriter } from "../src/store/wire.ts";
import { assertRefused } from "./bad-input.ts";
import { FakeDaemon, greeting } from "./fakes/daemon.ts";
import type { Peer, Script } from "./fakes/daemon.ts";
import {
  BUNDLE,
  freshMachine,
  handpick,
  isServed,
  resultOf,
  startHandpick,
  startServe,
} from "./handpick.ts";
import type { Result, ServeRig } from "./handpick.ts";
import { createTestNix } from "./nix.ts";
import type { TestNix } from "./nix.ts";
import { NOBODY } from "./ordinary-user.ts";

const LAST = 0x616c7473;
const NEXT = 0x6f6c6d67;
const ERROR = 0x63787470;
const UNSAFE = /(?!\n)[\p{Cc}\p{Cf}]/u;

/** Makes file names in a folder by a script of the shell, whose printf knows every byte. */
function inFolder(folder: string, script: string): void {
  execFileSync("sh", ["-e", "-c", script], { cwd: folder, stdio: "pipe" });
}

describe("a store with something odd in it", { timeout: 120_000 }, () => {
  let nix: TestNix;
  let serve: ServeRig;
  before(async () => {
    nix = await createTestNix({ root: true });
    serve = await startServe(nix);
  });
  after(async () => {
    await serve[Symbol.asyncDispose]();
    await nix[Symbol.asyncDispose]();
  });

  async function addTree(name: string, script: string): Promise<string> {
    const folder = join(nix.dir, "expressions", name);
    inFolder(join(nix.dir, "expressions"), `mkdir ${name}; cd ${name}; ${script}`);
    return (await nix.run("nix-store", ["--add", folder])).stdout.trim();
  }

  const physical = (path: string): string => join(nix.dir, "root", path);

  /** Pushes a path that cannot be pushed beside one that can, and checks that only that went. */
  async function pushBeside(bad: string, good: string): Promise<Result> {
    const result = await handpick(nix, ["push", bad, good]);
    assert.equal(result.status, 1, result.stderr);
    assert.match(result.stdout, /^1 pushed .*, 1 failed in /);
    assert.doesNotMatch(result.stderr, UNSAFE);
    assert.deepEqual([await isServed(serve, bad), await isServed(serve, good)], [false, true]);
    for (const folder of ["parts", "tmp"]) {
      assert.deepEqual(await readdir(join(serve.dir, folder)), [], `nothing is left in ${folder}`);
    }
    return result;
  }

  it("pushes names of any bytes, byte for byte", async () => {
    const path = await addTree(
      "names",
      `for name in '\\033[31mred' 'two\\nlines' '\\377\\376' '\\342\\200\\256reversed' ' ';  do
         printf x > "./$(printf "$name")"
       done
       printf x > ${"n".repeat(255)}; ln -s "$(printf '/\\033]0;t\\007')" ./-rf`,
    );
    const { status, stderr } = await handpick(nix, ["push", path]);
    assert.equal(status, 0, stderr);
    assert.doesNotMatch(stderr, UNSAFE);
    const fresh = freshMachine(nix, serve, "fresh-names");
    await nix.run("nix-store", ["--realise", path], { env: fresh.env });
    await nix.run("nix-store", ["--verify", "--check-contents"], { env: fresh.env });
  });

  it("refuses special files, and their names never reach the terminal raw", async () => {
    const socket = `"$NODE" -e 'require("net").createServer().listen("odd", () => process.kill(process.pid, 9))' || true`;
    const kinds = {
      fifo: `mkfifo "$(printf 'odd\\033]0;owned\\007\\342\\200\\256')"`,
      socket: `NODE=${process.execPath}; ${socket}`,
      ...(process.getuid?.() === 0 ? { device: "mknod odd c 1 5" } : {}),
    };
    for (const [kind, make] of Object.entries(kinds)) {
      const path = await addTree(kind, "echo a > a");
      inFolder(physical(path), `chmod u+w .; ${make}`);
      const { stderr } = await pushBeside(path, await nix.add("beside", kind));
      assert.match(stderr, /✗ \w+ .*STORE_PATH_CORRUPT: .*odd.*found a special file\n {2}Run nix/);
    }
  });

  it("tells what was removed, replaced or changed by hand, and pushes the rest", async () => {
    const cases = [
      [
        "removed",
        `chmod -R u+w "$0"; rm -rf "$0"`,
        /STORE_PATH_GONE: .*: ENOENT\n {2}It was garbage-collected/,
      ],
      [
        "linked",
        `chmod -R u+w "$0"; rm -rf "$0"; ln -s /etc "$0"`,
        /STORE_PATH_CORRUPT: .*\n {2}recorded .*\n/,
      ],
      ["partly", `chmod u+w "$0"; rm "$0/b"`, /STORE_PATH_CORRUPT: .*\n {2}recorded .*\n/],
      ["grown", `chmod u+w "$0/a"; echo >> "$0/a"`, /STORE_PATH_CORRUPT: .*\n {2}recorded .*\n/],
      [
        "longer",
        `chmod u+w "$0"; touch "$0/c"`,
        /Run nix-store --repair-path \/nix\/store\/.*-longer/,
      ],
    ] as const;
    for (const [name, spoil, message] of cases) {
      const path = await addTree(name, "echo a > a; echo b > b");
      execFileSync("sh", ["-e", "-c", spoil, physical(path)]);
      const { stderr } = await pushBeside(path, await nix.add("beside", name));
      assert.match(stderr, message);
    }
  });

  it("tells which file it may not read", async () => {
    const path = await addTree("closed", "echo a > a");
    execFileSync("chmod", ["000", join(physical(path), "a")]);
    const table = `[caches.mine]\nurl = "cachix://mine"\nhost = "${serve.url}"\ntoken-env = "T"\n`;
    await writeFile(join(nix.dir, "open.toml"), table);
    const good = await nix.add("beside", "closed");
    // Root may read everything, so nobody pushes in its place.
    const user = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {};
    const { status, stderr } = await nix.run(
      process.execPath,
      [BUNDLE, "push", "--config", "open.toml", path, good],
      { ...user, env: { T: serve.token }, allowFailure: true },
    );
    assert.equal(status, 1, stderr);
    assert.match(stderr, /STORE_PATH_UNREADABLE: Cannot read ".*\/a": EACCES\n {2}Check the perm/);
    assert.deepEqual([await isServed(serve, path), await isServed(serve, good)], [false, true]);
  });
});

describe("a database of Nix that is damaged", { timeout: 120_000 }, () => {
  it("is told as that, with what to do, and nothing is pushed", async () => {
    await using nix = await createTestNix({ root: true });
    await using serve = await startServe(nix);
    const path = await nix.add("lib", "library");
    const file = join(nix.stateDir, "db/db.sqlite");
    const whole = await readFile(file);
    const spoil = (sql: string) => (): void => {
      using database = new DatabaseSync(file);
      database.exec(sql);
    };
    const set = (setting: string): (() => void) => spoil(`update ValidPaths set ${setting}`);
    const cases = [
      [() => writeFile(file, ""), "STORE_FAILED", /: no such table: ValidPaths$/],
      [() => truncate(file, 4096), "STORE_FAILED", /: database disk image is malformed$/],
      [() => writeFile(file, "no database"), "STORE_FAILED", /: file is not a database$/],
      [spoil("drop table Refs"), "STORE_FAILED", /: no such table: Refs$/],
      [set("narSize = -7"), "STORE_PROTOCOL", /: expected the size of a NAR, found -7$/],
      [set("narSize = 1 << 60"), "STORE_FAILED", /: Value is too large/],
      [set("hash = 'sha256:zz'"), "STORE_PROTOCOL", /: "sha256:zz" is not a hash/],
      [
        set("deriver = '/etc/passwd'"),
        "STORE_PROTOCOL",
        /"\/etc\/passwd" is not in "\/nix\/store"$/,
      ],
    ] as const;
    for (const [damage, code, message] of cases) {
      await rm(`${file}-wal`, { force: true });
      await rm(`${file}-shm`, { force: true });
      await writeFile(file, whole);
      await damage();
      assertRefused(await handpick(nix, ["push", path]), { status: 1, code, message });
      assert.equal(await isServed(serve, path), false);
    }
  });

  it("does not have a path pushed of which it records another size", async () => {
    await using nix = await createTestNix({ root: true });
    await using serve = await startServe(nix);
    const path = await nix.add("lib", "library");
    for (const size of ["1", "119", "121", "120.5", "5000000", "1 << 52"]) {
      using database = new DatabaseSync(join(nix.stateDir, "db/db.sqlite"));
      database.exec(`update ValidPaths set narSize = ${size}`);
      const { status, stderr } = await handpick(nix, ["push", path]);
      assert.equal(status, 1, stderr);
      assert.match(stderr, /STORE_PATH_CORRUPT: .*\n {2}recorded .*\n {2}found .*\n {2}Run nix/);
      assert.equal(await isServed(serve, path), false);
    }
  });
});

type Expected = Parameters<typeof assertRefused>[1];

/** An error of the daemon whose text would turn a terminal red and reverse its direction. */
function evilError(): Uint8Array {
  const head = new WireWriter().int(ERROR).string("Error").int(0).string("Error");
  return head.string("evil\u001b[31m\u202e").int(0).int(0).toBytes();
}

describe("a daemon that is hostile", { timeout: 120_000 }, () => {
  let nix: TestNix;
  before(async () => {
    nix = await createTestNix({ root: true });
  });
  after(() => nix[Symbol.asyncDispose]());

  const path = "/nix/store/00000000000000000000000000000000-x";

  async function pushThrough(script: Script): Promise<Result> {
    await using daemon = await FakeDaemon.start(script);
    const store = `unix://${daemon.socketPath}`;
    return await handpick(nix, ["push", "--to", "cachix://x", "--store", store, path]);
  }

  /** Sends something for as long as the client takes it. */
  async function pour(peer: Peer, bytes: Uint8Array): Promise<void> {
    const more = (): void => {
      while (!peer.socket.destroyed && peer.socket.write(bytes));
    };
    peer.socket.on("drain", more);
    more();
    await peer.hangUp();
  }

  /** Reads the first question, and answers it so. */
  const answering = (answer: (peer: Peer) => Promise<void>): Script =>
    greeting(34, async (peer) => {
      await peer.take(8);
      await answer(peer);
    });

  it("is refused whatever it says", async () => {
    const protocol = (message: RegExp): Expected => ({
      status: 1,
      code: "STORE_PROTOCOL",
      message,
    });
    const huge = new WireWriter()
      .int(LAST)
      .int(2 ** 50)
      .toBytes();
    const cases: readonly (readonly [Script, Expected])[] = [
      [(peer) => pour(peer, Buffer.from("SSH-2.0-x\r\n")), protocol(/expected an integer/)],
      [answering((peer) => pour(peer, huge)), protocol(/expected/)],
      [answering((peer) => pour(peer, Buffer.alloc(65_536, 0x41))), protocol(/expected/)],
      [
        answering((peer) => pour(peer, new WireWriter().int(NEXT).string("log").toBytes())),
        protocol(/expected an answer after at most/),
      ],
      [
        answering((peer) => pour(peer, evilError())),
        { status: 1, code: "STORE_FAILED", message: /answered "evil"$/ },
      ],
    ];
    for (const [script, expected] of cases) assertRefused(await pushThrough(script), expected);
  });

  it("that trickles does not keep Ctrl-C waiting", async () => {
    const asked = Promise.withResolvers<void>();
    await using daemon = await FakeDaemon.start(
      answering(async (peer) => {
        asked.resolve();
        await peer.hangUp();
      }),
    );
    const args = ["push", "--to", "cachix://x", "--store", `unix://${daemon.socketPath}`, path];
    const child = startHandpick(nix, args);
    const ended = resultOf(child);
    await asked.promise;
    child.kill("SIGINT");
    const { status, stderr } = await ended;
    assert.deepEqual([status, stderr.trim()], [130, "handpick: interrupted"]);
  });
});
