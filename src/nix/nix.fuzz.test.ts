import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import {
  assertLinear,
  assertQuick,
  hostileText,
  SLOW_FUZZ_RUNS,
  valueOrRefusal,
} from "../../test/fuzz.ts";
import { createTestNix } from "../../test/nix.ts";
import { decodeBase32, encodeBase32 } from "./base32.ts";
import { decodeBase64 } from "./base64.ts";
import { parseDerivation } from "./derivation.ts";
import { quote, quoteUrl } from "./format-error.ts";
import { isGlob } from "./glob.ts";
import { parseHash } from "./hash.ts";
import { parsePublicKey } from "./key.ts";
import { parseManifest } from "./manifest.ts";
import { parseNarInfo } from "./narinfo.ts";
import { packageNameOf } from "./package-name.ts";
import { parseSignature } from "./signature.ts";
import { parseStorePath } from "./store-path.ts";

const HASH = "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73";
const PATH = "/nix/store/y9v4w1kf41c10q7fdxlbz10s0adiximd-dep-1.0";
const SIGNATURE = `a-1:${Buffer.alloc(64).toString("base64")}`;
const NARINFO = `StorePath: ${PATH}
URL: nar/a.nar.xz
Compression: xz
FileHash: ${HASH}
FileSize: 100
NarHash: ${HASH}
NarSize: 120
References: ${PATH.slice(11)}
Deriver: ${PATH.slice(11)}.drv
System: x86_64-linux
Sig: ${SIGNATURE}
CA: fixed:r:${HASH}
`;

describe("parsers of Nix's formats, fed with long texts", () => {
  for (const [what, samples, parse] of [
    ["store path", [PATH], (text) => parseStorePath(text)],
    ["hash", [HASH, "sha256-"], (text) => parseHash(text)],
    ["base-32", ["0mdqa9w1"], (text) => decodeBase32(text)],
    ["base64", ["AAAA"], decodeBase64],
    ["public key", [SIGNATURE.slice(0, 48)], (text) => parsePublicKey(text)],
    ["signature", [SIGNATURE], parseSignature],
    ["narinfo", [NARINFO], (text) => parseNarInfo(text)],
    ["manifest", [`{"version":1,"name":"a","picks":[{"name":"`], (text) => parseManifest(text)],
    ["derivation", [`Derive([("out","${PATH}","","")],[],[],"`], (text) => parseDerivation(text)],
    ["glob", ["*-doc", "/nix/store/[a-z]"], isGlob],
    ["package name", ["hello-1.0"], packageNameOf],
    ["quotation", [""], (text) => [quote(text), quoteUrl(text)]],
  ] as readonly [string, readonly string[], (text: string) => unknown][]) {
    it(`take a time that grows with the text: ${what}`, () => {
      assertLinear(samples, (text) => valueOrRefusal("FormatError", () => parse(text)));
    });
  }

  it("take escapes of a derivation at about their size", () => {
    const text = `Derive([],[],[],"s","${"\\\\".repeat(1 << 22)}",[],[])`;
    assertQuick("4 MiB of escapes", () => {
      assert.equal(parseDerivation(text).builder.length, 1 << 22);
    });
  });
});

describe("parsers of Nix's formats, beside Nix", () => {
  it("spell digests in base-32 as nix-hash", () => {
    const digests = fc.sample(fc.uint8Array({ minLength: 20, maxLength: 20 }), SLOW_FUZZ_RUNS);
    const hex = digests.map((digest) => Buffer.from(digest).toString("hex"));
    const spelled = execFileSync("nix-hash", ["--type", "sha1", "--to-base32", ...hex]);
    assert.deepEqual(spelled.toString().trim().split("\n"), digests.map(encodeBase32));
  });

  it("cut the version from names as builtins.parseDrvName", async () => {
    await using nix = await createTestNix();
    const name = fc.stringMatching(/^[a-z0-9][a-zA-Z0-9+._?=-]{0,15}$/);
    // Of "-1" Nix says that the name is empty, which is no use to us.
    const useful = fc.oneof(name, hostileName()).filter((text) => !text.startsWith("-"));
    const names = fc.sample(useful, SLOW_FUZZ_RUNS);
    const expression = `map (n: (builtins.parseDrvName n).name) (builtins.fromJSON (builtins.readFile ${join(nix.dir, "names.json")}))`;
    writeFileSync(join(nix.dir, "names.json"), JSON.stringify(names));
    const words = ["--eval", "--strict", "--json", "-E", expression];
    const { stdout } = await nix.run("nix-instantiate", words);
    assert.deepEqual(names.map(packageNameOf), JSON.parse(stdout));
  });

  it("take no narinfo that Nix refuses, and read the same of it", async () => {
    await using nix = await createTestNix({ root: true });
    const cache = join(nix.dir, "cache");
    mkdirSync(cache);
    writeFileSync(join(cache, "nix-cache-info"), "StoreDir: /nix/store\n");
    const expected = new Map<string, unknown>();
    const texts = fc.sample(hostileText([NARINFO]), SLOW_FUZZ_RUNS * 20);
    for (const [index, text] of texts.entries()) {
      // Each under a hash of its own, as all are asked for at once.
      const hash = encodeBase32(Buffer.from(String(index).padStart(20, "0")));
      const own = text.replaceAll("y9v4w1kf41c10q7fdxlbz10s0adiximd", hash);
      const info = valueOrRefusal("FormatError", () => parseNarInfo(own));
      if (info === undefined || !info.storePath.includes(hash)) continue;
      writeFileSync(join(cache, `${hash}.narinfo`), own);
      const { narSize, url, references, deriver, signatures } = info;
      expected.set(info.storePath, { narSize, url, references, deriver, signatures });
    }
    assert.ok(expected.size > SLOW_FUZZ_RUNS / 10, `${expected.size} narinfos`);
    const words = ["path-info", "--json", "--store", `file://${cache}`, ...expected.keys()];
    const { stdout } = await nix.run("nix", words);
    const told = pathInfosOf(JSON.parse(stdout) as Parameters<typeof pathInfosOf>[0]);
    for (const [path, { narSize, url, references, deriver, signatures = [] }] of told) {
      const same = { narSize, url, references, deriver: deriver ?? undefined, signatures };
      assert.deepEqual(same, expected.get(path), path);
    }
    assert.equal(told.length, expected.size);
  });
});

type Told = Readonly<Record<string, unknown>>;

/** The output of `nix path-info --json`: a list before Nix 2.19, an object with paths as keys since. */
function pathInfosOf(
  printed: readonly (Told & { readonly path: string })[] | Readonly<Record<string, Told>>,
): (readonly [path: string, info: Told])[] {
  if (!Array.isArray(printed)) return Object.entries(printed);
  return printed.map((info: Told & { readonly path: string }) => [info.path, info] as const);
}

function hostileName(): fc.Arbitrary<string> {
  const piece = fc.constantFrom("-", "--", "a", "1", ".", "-1", "-a", "+", "_");
  return fc.array(piece, { minLength: 1, maxLength: 6 }).map((pieces) => pieces.join(""));
}
