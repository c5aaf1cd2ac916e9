import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { describe, it } from "node:test";

import { wrapText, writeText } from "./output.ts";

const LONG = "handpick: Cannot select the package named here: it is not valid in the Nix store";

describe("wrapText()", () => {
  it("breaks between words, and indents what continues a line", () => {
    assert.deepEqual(wrapText(`${LONG}\n  ${LONG}`, 40).split("\n"), [
      "handpick: Cannot select the package",
      "  named here: it is not valid in the Nix",
      "  store",
      "  handpick: Cannot select the package",
      "    named here: it is not valid in the",
      "    Nix store",
    ]);
  });

  it("keeps lines that fit, and columns within them", () => {
    const line = "  push        1.5 KiB  words-1.0";
    assert.equal(wrapText(line, 40), line);
    assert.deepEqual(wrapText(`${line}                        missing`, 40).split("\n"), [
      line,
      "    missing",
    ]);
  });

  it("cuts no word, and counts no colour", () => {
    const path = `/nix/store/${"a".repeat(50)}`;
    assert.equal(wrapText(path, 40), path);
    const red = `\u001b[31mhandpick:\u001b[39m ${"w".repeat(30)}`;
    assert.equal(wrapText(red, 40), red);
  });
});

describe("writeText()", () => {
  const written = (terminal: object): string => {
    const stream = Object.assign(new PassThrough(), terminal);
    writeText(stream, LONG);
    return String(stream.read());
  };

  it("wraps on a terminal only, and on none that is too narrow for words", () => {
    assert.equal(written({ isTTY: true, columns: 40 }).split("\n").length, 4);
    for (const terminal of [{}, { columns: 40 }, { isTTY: true }, { isTTY: true, columns: 10 }]) {
      assert.equal(written(terminal), `${LONG}\n`);
    }
  });
});
