import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DatabaseSync } from "node:sqlite";

import * as fc from "fast-check";

import { assertLinear, edited, FUZZ_RUNS, hostileText, SLOW_FUZZ_RUNS } from "../../test/fuzz.ts";
import { HandpickError } from "../error.ts";
import { parseStorePath } from "../nix/store-path.ts";
import { printable, skipToAnswer } from "./daemon-messages.ts";
import { selectClosure, selectPathInfos, selectValid } from "./database-queries.ts";
import { pathInfoReader } from "./path-record.ts";
import { parseStoreUri } from "./store-uri.ts";
import { WireReader, WireWriter } from "./wire.ts";

const PATH = "/nix/store/y9v4w1kf41c10q7fdxlbz10s0adiximd-dep-1.0";
const HASH = "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73";

function readerOf(bytes: Uint8Array, chunkSize: number): WireReader {
  return new WireReader(
    (async function* () {
      for (let at = 0; at < bytes.length; at += chunkSize) {
        yield Buffer.from(bytes.subarray(at, at + chunkSize));
      }
    })(),
  );
}

/** The error's code, `undefined` for none; anything but a HandpickError goes on. */
async function codeOf(act: () => unknown): Promise<string | undefined> {
  try {
    await act();
    return undefined;
  } catch (error) {
    if (error instanceof HandpickError) return error.code;
    throw error;
  }
}

describe("WireReader, fed with anything", () => {
  const log = new WireWriter()
    .int(0x6f6c6d67)
    .string("building")
    .int(0x53545254)
    .int(1)
    .int(2)
    .int(3)
    .string("activity")
    .int(2)
    .int(0)
    .int(7)
    .int(1)
    .string("field")
    .int(0)
    .int(0x52534c54)
    .int(1)
    .int(100)
    .int(0)
    .int(0x53544f50)
    .int(1)
    .int(0x616c7473)
    .toBytes();
  const error = new WireWriter()
    .int(0x63787470)
    .string("Error")
    .int(0)
    .string("nix::Error")
    .string("it \u001b[31mfailed")
    .toBytes();

  it("reads the same in chunks of every size from 1 to 1025", async () => {
    const texts = ["", "a", "1234567", "12345678", "x".repeat(700)];
    const bytes = new WireWriter().strings(texts).int(Number.MAX_SAFE_INTEGER).toBytes();
    for (let size = 1; size <= 1025; size++) {
      const reader = readerOf(Buffer.concat([log, bytes]), size);
      await skipToAnswer(reader, 38);
      assert.deepEqual(await reader.strings(5, 700), texts);
      assert.equal(await reader.int(), Number.MAX_SAFE_INTEGER);
    }
  });

  it("skips log messages or refuses them by code, the same for any chunks", async () => {
    const words = (bytes: Buffer): Buffer[] =>
      Array.from({ length: bytes.length / 8 }, (_, index) =>
        bytes.subarray(index * 8, index * 8 + 8),
      );
    const word = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((value) => {
      const bytes = Buffer.alloc(8);
      bytes.writeBigUInt64LE(value);
      return bytes;
    });
    await fc.assert(
      fc.asyncProperty(
        edited([words(log), words(error)], fc.oneof(word, fc.constantFrom(...words(log)))),
        fc.constantFrom(21, 25, 26, 38),
        fc.integer({ min: 1, max: 30 }),
        async (list, minor, size) => {
          const bytes = Buffer.concat(list);
          const whole = await codeOf(() => skipToAnswer(readerOf(bytes, bytes.length + 1), minor));
          assert.ok([undefined, "STORE_FAILED", "STORE_PROTOCOL"].includes(whole), whole);
          assert.equal(await codeOf(() => skipToAnswer(readerOf(bytes, size), minor)), whole);
        },
      ),
      { numRuns: FUZZ_RUNS },
    );
  });

  it("sets no memory aside for what was only announced", async () => {
    const before = process.memoryUsage().arrayBuffers;
    const announced = new WireWriter().int(2 ** 30).toBytes();
    const code = await codeOf(() => readerOf(announced, 8).string(2 ** 30));
    assert.equal(code, "STORE_FAILED");
    assert.equal(await codeOf(() => readerOf(announced, 8).strings(2 ** 30, 9)), "STORE_FAILED");
    assert.ok(process.memoryUsage().arrayBuffers - before < 2 ** 20);
  });
});

describe("printable()", () => {
  it("gives short text without control characters for any text", () => {
    const control = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;
    fc.assert(
      fc.property(hostileText(["\u001b[31mred\u001b[0m", "\u001b]0;title\u0007"]), (text) => {
        const shown = printable(text);
        assert.ok(shown.length <= 401 && !control.test(shown), JSON.stringify(shown));
      }),
      { numRuns: FUZZ_RUNS },
    );
    assertLinear(["\u001b[31mred", "\u001b]0;title"], printable);
  });
});

describe("records of a store, fed with anything", () => {
  const text = hostileText([PATH, HASH, "", "a:b c:d"]);
  const integer = fc.oneof(fc.nat(), fc.integer(), fc.double());

  it("become path infos or STORE_PROTOCOL", async () => {
    const record = fc.record({
      path: text,
      narHash: fc.oneof(fc.constant(HASH), text),
      narSize: integer,
      references: fc.array(fc.oneof(fc.constant(PATH), text), { maxLength: 3 }),
      deriver: text,
      registrationTime: integer,
      ultimate: fc.boolean(),
      signatures: fc.array(text, { maxLength: 2 }),
      contentAddress: text,
    });
    await fc.assert(
      fc.asyncProperty(record, async (told) => {
        const code = await codeOf(() => pathInfoReader("/nix/store")(told));
        assert.ok([undefined, "STORE_PROTOCOL"].includes(code), code);
      }),
      { numRuns: FUZZ_RUNS },
    );
  });

  it("are refused by code as rows of a database too", () => {
    using database = new DatabaseSync(":memory:");
    database.exec(`create table ValidPaths (id integer primary key, path text, hash text,
      registrationTime integer, deriver text, narSize integer, ultimate integer, sigs text, ca text);
      create table Refs (referrer integer, reference integer)`);
    const insert = database.prepare("insert into ValidPaths values (?, ?, ?, ?, ?, ?, ?, ?, ?)");
    const refer = database.prepare("insert into Refs values (1, 1), (1, 2)");
    const column = fc.oneof(text, fc.integer(), fc.constant(null), fc.uint8Array({ maxLength: 9 }));
    const row = fc.tuple(
      fc.oneof(fc.constant(HASH), column),
      ...Array.from({ length: 6 }, () => column),
    );
    fc.assert(
      fc.property(row, column, (columns, other) => {
        database.exec("delete from ValidPaths; delete from Refs");
        insert.run(1, PATH, ...columns);
        insert.run(2, other, ...columns);
        refer.run();
        const path = parseStorePath(PATH);
        for (const select of [selectPathInfos, selectClosure, selectValid]) {
          try {
            select(database, [path], "/nix/store");
          } catch (error) {
            // SQLite's integers may pass 2^53, which the database explains as STORE_FAILED.
            assert.ok(error instanceof Error && "code" in error, String(error));
            assert.match(String(error.code), /^(?:STORE_PROTOCOL|ERR_OUT_OF_RANGE)$/);
          }
        }
      }),
      { numRuns: SLOW_FUZZ_RUNS * 2 },
    );
  });
});

describe("parseStoreUri(), fed with anything", () => {
  const uris = [
    "local?root=/r&state=/s%2F",
    "unix:///run/socket",
    "https://user:secret@host/?secret-key=x",
    "/chroot",
    "daemon",
  ];

  it("gives absolute places or a HandpickError without what is secret", async () => {
    fc.assert(
      fc.property(hostileText(uris), (uri) => {
        try {
          const { layout, way, socketPath } = parseStoreUri(uri, {});
          for (const path of [...Object.values(layout), way === "database" ? "/" : socketPath]) {
            assert.ok(path.startsWith("/") && !path.includes("\0"), JSON.stringify(path));
          }
        } catch (error) {
          assert.ok(error instanceof HandpickError);
          assert.match(error.code, /^(?:STORE_UNSUPPORTED|CONFIG_INVALID)$/);
        }
      }),
      { numRuns: FUZZ_RUNS },
    );
    for (const uri of [
      "ssh://u:a/pass@h",
      "https://u:pass@h/a@b",
      "x://?a=pass#pass",
      "x://pass@",
    ]) {
      assert.throws(
        () => parseStoreUri(uri, {}),
        (error) => error instanceof Error && !error.message.includes("pass"),
        uri,
      );
    }
    // Linux passes no longer arguments and variables.
    assertLinear(uris, (uri) => codeOf(() => parseStoreUri(uri.slice(0, 128 * 1024), {})));
  });
});
