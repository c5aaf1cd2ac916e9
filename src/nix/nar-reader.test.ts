import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { FUZZ_RUNS, hostileBytes, valueOrRefusal } from "../../test/fuzz.ts";
import {
  NAR_CLOSE,
  NAR_DIRECTORY_HEAD,
  NAR_MAGIC,
  narEntryHead,
  narFileHead,
  narFileTail,
  narString,
  narSymlink,
} from "./nar-encode.ts";
import { NarReader, type NarReaderOptions } from "./nar-reader.ts";

const VECTORS = new URL("../../test/vectors/nar/", import.meta.url);
const NARS = readdirSync(VECTORS).map((name) => readFileSync(new URL(name, VECTORS)));

/** A file's contents, a link's target or a folder's entries in the order of writing. */
type Tree =
  | { readonly file: Uint8Array; readonly executable?: boolean }
  | { readonly link: Uint8Array }
  | { readonly folder: readonly (readonly [name: Uint8Array, node: Tree])[] };

const text = (value: string): Uint8Array => new Uint8Array(Buffer.from(value));
const file = (value: string): Tree => ({ file: text(value) });
const folder = (...entries: readonly (readonly [string, Tree])[]): Tree => ({
  folder: entries.map(([name, node]) => [text(name), node]),
});

function encodeNode(tree: Tree): Buffer {
  if ("link" in tree) return narSymlink(tree.link);
  if ("file" in tree) {
    const head = narFileHead(tree.file.length, tree.executable ?? false);
    return Buffer.concat([head, tree.file, narFileTail(tree.file.length)]);
  }
  const entries = tree.folder.flatMap(([name, node]) => [
    narEntryHead(name),
    encodeNode(node),
    NAR_CLOSE,
  ]);
  return Buffer.concat([NAR_DIRECTORY_HEAD, ...entries, NAR_CLOSE]);
}

const encode = (tree: Tree): Buffer => Buffer.concat([NAR_MAGIC, encodeNode(tree)]);
const words = (...values: readonly (string | Uint8Array)[]): Buffer =>
  Buffer.concat(["nix-archive-1", ...values].map((value) => narString(value)));
const length = (low: number, high = 0): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32LE(low);
  bytes.writeUInt32LE(high, 4);
  return bytes;
};

/** Everything the visitor is told, with the contents of a file joined. */
type Event = readonly unknown[];

interface Reading {
  readonly events: readonly Event[];
  readonly error: string | undefined;
  readonly bytesRead: number;
  readonly done: boolean;
}

function read(chunks: Iterable<Uint8Array>, options?: NarReaderOptions): Reading {
  const events: Event[] = [];
  let contents: Buffer[] = [];
  const reader = new NarReader(
    {
      directoryStart: () => events.push(["folder"]),
      directoryEnd: () => events.push(["end"]),
      entry: (name) => events.push(["entry", Buffer.from(name)]),
      fileStart: (head) => {
        contents = [];
        events.push(["file", head, contents]);
      },
      fileData: (bytes) => contents.push(Buffer.from(bytes)),
      fileEnd: () => contents.splice(0, contents.length, Buffer.concat(contents)),
      symlink: (target) => events.push(["link", Buffer.from(target)]),
    },
    options,
  );
  const error = refusal(() => {
    for (const chunk of chunks) reader.write(chunk);
    reader.end();
  });
  return { events, error, bytesRead: reader.bytesRead, done: reader.done };
}

function refusal(act: () => void): string | undefined {
  try {
    act();
  } catch (error) {
    if (error instanceof Error && error.name === "FormatError") return error.message;
    throw error;
  }
  return undefined;
}

function* cut(bytes: Uint8Array, size: number): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

/** The tree that the events tell of, written again. */
function reencode(bytes: Uint8Array): Buffer {
  const parts: Uint8Array[] = [NAR_MAGIC];
  let depth = 0;
  const close = (): void => {
    if (depth > 0) parts.push(NAR_CLOSE);
  };
  const reader = new NarReader({
    directoryStart: () => {
      depth++;
      parts.push(NAR_DIRECTORY_HEAD);
    },
    directoryEnd: () => {
      depth--;
      parts.push(NAR_CLOSE);
      close();
    },
    entry: (name) => parts.push(narEntryHead(name)),
    fileStart: ({ size, executable }) => {
      parts.push(narFileHead(size, executable));
      parts.push(Buffer.alloc(0), narFileTail(size));
    },
    fileData: (data) => parts.splice(-1, 0, Buffer.from(data)),
    fileEnd: close,
    symlink: (target) => {
      parts.push(narSymlink(target));
      close();
    },
  });
  reader.write(bytes);
  reader.end();
  return Buffer.concat(parts);
}

const nameBytes = fc
  .uint8Array({ minLength: 1, maxLength: 8 })
  .filter(
    (name) =>
      !name.includes(0x2f) && !name.includes(0) && !/^\.\.?$/.test(Buffer.from(name).toString()),
  );
const { tree: anyTree } = fc.letrec<{ tree: Tree }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.record({ file: fc.uint8Array({ maxLength: 40 }), executable: fc.boolean() }),
    fc.record({ link: nameBytes }),
    fc.record({
      folder: fc
        .uniqueArray(fc.tuple(nameBytes, tie("tree")), {
          selector: ([name]) => Buffer.from(name).toString("hex"),
          maxLength: 5,
        })
        .map((entries) => entries.toSorted(([a], [b]) => Buffer.compare(a, b))),
    }),
  ),
}));

describe("NarReader", () => {
  it("reads what real Nix dumped, and nothing of it is lost", () => {
    for (const nar of NARS) {
      const reading = read([nar]);
      assert.equal(reading.error, undefined);
      assert.deepEqual([reading.done, reading.bytesRead], [true, nar.length]);
      assert.deepEqual(reencode(nar), nar);
    }
  });

  it("reads what real Nix dumps today", async () => {
    const dir = await mkdtemp(join(tmpdir(), "handpick-nar-"));
    try {
      const root = join(dir, "root");
      await mkdir(join(root, "empty folder"), { recursive: true });
      await writeFile(join(root, "large"), Buffer.alloc(3_000_001, 7));
      await writeFile(join(root, "run"), "#!/bin/sh\n");
      await chmod(join(root, "run"), 0o755);
      await writeFile(Buffer.concat([Buffer.from(`${root}/`), Buffer.of(0xff, 0xfe)]), "");
      await symlink("../elsewhere", join(root, "link"));
      const nar = execFileSync("nix-store", ["--dump", root], { maxBuffer: 2 ** 24 });
      assert.deepEqual(reencode(nar), nar);
      assert.deepEqual(read(cut(nar, 65_536)), read([nar]));
    } finally {
      await rm(dir, { recursive: true });
    }
  });

  it("reads any tree that is written", () => {
    fc.assert(
      fc.property(anyTree, (tree) => {
        assert.deepEqual(reencode(encode(tree)), encode(tree));
      }),
    );
  });

  it("gives the same for chunks of every size from 1 to 1025", () => {
    const [nar] = NARS.toSorted((a, b) => b.length - a.length);
    assert.ok(nar !== undefined);
    const whole = read([nar]);
    for (let size = 1; size <= 1025; size++) assert.deepEqual(read(cut(nar, size)), whole);
  });

  it("refuses or reads any bytes, the same for any chunks, and reads only what it would write", () => {
    fc.assert(
      fc.property(hostileBytes(NARS), fc.integer({ min: 1, max: 300 }), (bytes, size) => {
        const { error, events } = read([bytes]);
        const chunked = read(cut(bytes, size));
        assert.equal(chunked.error, error);
        if (error === undefined) {
          assert.deepEqual(chunked.events, events);
          assert.deepEqual(reencode(bytes), Buffer.from(bytes));
        }
      }),
      { numRuns: FUZZ_RUNS },
    );
  });

  it("refuses every proper beginning of a NAR, at its end only", () => {
    for (const nar of NARS) {
      for (let size = 0; size < nar.length; size++) {
        const reader = new NarReader();
        reader.write(nar.subarray(0, size));
        assert.throws(() => reader.end(), { name: "FormatError", format: "nar" });
      }
    }
  });

  it("tells where the contents are", () => {
    const nar = encode(folder(["a", file("abc")], ["b", { file: text("de"), executable: true }]));
    const files: string[] = [];
    const reader = new NarReader({
      fileStart: ({ size, executable, narOffset }) => {
        files.push(`${executable} ${nar.subarray(narOffset, narOffset + size).toString()}`);
      },
    });
    reader.write(nar);
    reader.end();
    assert.deepEqual(files, ["false abc", "true de"]);
  });

  it("hands contents on without copying them", () => {
    const nar = encode(file("x".repeat(1000)));
    const reader = new NarReader({
      fileData: (bytes) => assert.equal(bytes.buffer, nar.buffer),
    });
    reader.write(nar);
    reader.end();
  });

  it("remembers names when the memory of a chunk is used again", () => {
    const nar = encode(folder(["a", file("")], ["b", file("")], ["b", file("")]));
    const names: Uint8Array[] = [];
    const reader = new NarReader({ entry: (name) => names.push(name) });
    const memory = Buffer.alloc(200);
    const write = (): void => {
      for (const chunk of cut(nar, memory.length)) {
        memory.fill(0).set(chunk);
        reader.write(memory.subarray(0, chunk.length));
      }
    };
    assert.throws(write, { message: /name after "b", found "b"/ });
    assert.deepEqual(names.map(String), ["97", "98"]);
  });

  it("leaves the target of a symlink alone when the memory of its chunk is used again", () => {
    const targets: Uint8Array[] = [];
    const reader = new NarReader({ symlink: (target) => targets.push(target) });
    const memory = Buffer.concat([NAR_MAGIC, narSymlink(Buffer.from("a/b"))]);
    reader.write(memory);
    memory.fill(0);
    assert.deepEqual(
      targets.map((target) => Buffer.from(target).toString()),
      ["a/b"],
    );
  });

  it("takes a file of more than 4 GiB", () => {
    const size = 2 ** 32 + 3;
    const chunk = Buffer.alloc(2 ** 24);
    let seen = 0;
    const reader = new NarReader({ fileData: (bytes) => (seen += bytes.length) });
    reader.write(NAR_MAGIC);
    reader.write(narFileHead(size, false));
    for (let left = size; left > 0; left -= chunk.length) {
      reader.write(chunk.subarray(0, Math.min(left, chunk.length)));
    }
    reader.write(narFileTail(size));
    reader.end();
    assert.equal(seen, size);
  });
});

describe("NarReader, what it refuses:", () => {
  const wellFormed = encode(file("x"));
  const nested = (levels: number): Tree =>
    Array.from({ length: levels }).reduce<Tree>((inner) => folder(["d", inner]), file(""));
  const refused: readonly (readonly [string, Buffer, RegExp])[] = [
    ["another magic", Buffer.concat([narString("nix-archive-2")]), /expected "nix-archive-1"/],
    ["a keyword that is too long", Buffer.concat([NAR_MAGIC, length(14)]), /at most 13 bytes/],
    ["a length beyond 2^53", Buffer.concat([NAR_MAGIC, length(0, 2 ** 21)]), /below 2\^53/],
    ["another type", words("(", "type", "fifo"), /found "fifo"/],
    ["an inherited property as type", words("(", "type", "constructor"), /found "constructor"/],
    ["a missing bracket", words("type"), /expected "\("/],
    [
      "two executable flags",
      words("(", "type", "regular", "executable", "", "executable"),
      /"contents"/,
    ],
    [
      "an executable flag with a value",
      words("(", "type", "regular", "executable", "x"),
      /expected ""/,
    ],
    ["bytes behind the end", Buffer.concat([wellFormed, Buffer.of(0)]), /expected the end/],
    ["two NARs", Buffer.concat([wellFormed, wellFormed]), /expected the end/],
    [
      "padding that is not zero",
      Buffer.concat([wellFormed.subarray(0, 97), Buffer.alloc(7, 1)]),
      /padding/,
    ],
    ["padding of a keyword that is not zero", Buffer.from(NAR_MAGIC).fill(1, 23), /padding/],
    [
      "names out of order",
      encode(folder(["b", file("")], ["a", file("")])),
      /name after "b", found "a"/,
    ],
    ["a name twice", encode(folder(["a", file("")], ["a", file("")])), /name after "a"/],
    [
      "names in the order of UTF-16",
      encode(folder(["\u{1f4a9}", file("")], ["\uff5e", file("")])),
      /name after/,
    ],
    ["an empty symlink target", encode({ link: text("") }), /symlink target/],
    ["a symlink target with a zero byte", encode({ link: text("a\0b") }), /symlink target/],
    ["a symlink target of 4096 bytes", encode({ link: Buffer.alloc(4096, "a") }), /at most 4095/],
    [
      "a name of 256 bytes",
      encode(folder(["a".repeat(256), file("")])),
      /at most 255 bytes of name/,
    ],
    [
      "two nodes in one entry",
      words(
        "(",
        "type",
        "directory",
        "entry",
        "(",
        "name",
        "a",
        "node",
        "(",
        "type",
        "symlink",
        "target",
        "b",
        ")",
        "node",
      ),
      /expected "\)"/,
    ],
    [
      "a node before its name",
      words("(", "type", "directory", "entry", "(", "node"),
      /expected "name"/,
    ],
    ["64 levels of folders", encode(nested(64)), /at most 64 levels/],
    ...["", ".", "..", "a/b", "/", "a\0"].map(
      (name) =>
        [
          `the name ${JSON.stringify(name)}`,
          encode(folder([name, file("")])),
          /file name/,
        ] as const,
    ),
  ];
  for (const [what, nar, rule] of refused) {
    it(what, () => {
      assert.match(read([nar]).error ?? "", rule);
      assert.deepEqual(read(cut(nar, 1)), read([nar]));
    });
  }

  for (const [what, tree] of [
    ["63 levels of folders", nested(63)],
    ["a name of 255 bytes", folder(["a".repeat(255), file("")])],
    ["a symlink target of 4095 bytes", { link: Buffer.alloc(4095, "a") }],
    ["names such as ... and .a", folder(["...", file("")], [".a", file("")])],
    [
      "equal names in different folders",
      folder(["a", folder(["a", file("")])], ["b", folder(["a", file("")])]),
    ],
  ] as const) {
    it(`but not ${what}`, () => {
      assert.equal(read([encode(tree)]).error, undefined);
    });
  }

  it("less or more levels where told so", () => {
    assert.equal(read([encode(nested(1000))], { maxDepth: 1001 }).error, undefined);
    assert.match(read([encode(nested(2))], { maxDepth: 2 }).error ?? "", /at most 2 levels/);
  });

  it("anything more once it has failed", () => {
    const reader = new NarReader();
    assert.throws(() => reader.write(length(14)), /at most 13/);
    assert.throws(() => reader.write(NAR_MAGIC), /at most 13/);
    assert.throws(() => reader.end(), /at most 13/);
    assert.equal(
      valueOrRefusal("FormatError", () => reader.write(new Uint8Array())),
      undefined,
    );
  });

  it("to go on after its visitor has failed", () => {
    const full = new Error("No space left");
    const reader = new NarReader({
      fileData: () => {
        throw full;
      },
    });
    assert.throws(() => reader.write(wellFormed), full);
    assert.throws(() => reader.end(), full);
  });
});
