import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { givesPath, parseContentAddress } from "./content-address.ts";
import { parseStorePath } from "./store-path.ts";

/** Paths that Nix made of a file, a folder, texts, and a build that refers to itself. */
const PATHS: readonly {
  readonly path: string;
  readonly ca: string;
  readonly references?: readonly string[];
}[] = [
  {
    path: "/nix/store/asinc35540f0q79m1s9g7ryai30whgxx-tree",
    ca: "fixed:r:sha256:0x8rfwm8ahk1g7chxpm8ij2nhvzxiryknb33py3dha2qxw5fkgr9",
  },
  {
    path: "/nix/store/khcbj63jsvcggdn4jfn3n3ddibh3l5yx-tree",
    ca: "fixed:r:sha1:xd5adfpyvmdsp8k8agj23p7hsp140swh",
  },
  {
    path: "/nix/store/gy454w1cxaq731grqwylhzf4pp9r5izh-hello.txt",
    ca: "fixed:sha256:00xyyr3fi8l6hb839bv3f7yb86yjv7xi1cgh1xnhipym4asvb4aq",
  },
  {
    path: "/nix/store/svdva85yi507g9vncgsaxvnd1r808h4w-hello.txt",
    ca: "fixed:sha1:iwjz551fyw0cxcjgf4l6c879zabd6wpm",
  },
  {
    path: "/nix/store/65wixim9aiqbhcggby76w4qbrip2mkmx-b.txt",
    ca: "text:sha256:1780kkasxvkkrd52rm4801xbv2rln7hn8ragi4rlln9r00bfh8ry",
  },
  {
    path: "/nix/store/13iswjys4kkhf7m39zc9hpfkkypn2c1b-a.txt",
    ca: "text:sha256:19y8b1x04jiwvy7nkny8jxscgpq67fzbw83flkssincih16rg1al",
    references: ["/nix/store/65wixim9aiqbhcggby76w4qbrip2mkmx-b.txt"],
  },
  {
    path: "/tmp/own/store/9sd3c2y4rsy3mw1fy65nb53qnsll7gl3-selfy",
    ca: "fixed:r:sha256:0qfajiq6jn4wyk1dwzk331b9p98wgrbg2q6bnjpyap1wp9x59wwz",
    references: ["/tmp/own/store/9sd3c2y4rsy3mw1fy65nb53qnsll7gl3-selfy"],
  },
];

const read = (path: string) => parseStorePath(path, path.slice(0, path.lastIndexOf("/")));

describe("givesPath()", () => {
  for (const { path, ca, references = [] } of PATHS) {
    it(`takes ${ca.replace(/:[^:]*$/, "")} of ${path}, and of no other path`, () => {
      const address = parseContentAddress(ca);
      const storePath = read(path);
      const refs = references.map(read);
      assert.equal(givesPath(address, { storePath, references: refs }), true);
      assert.equal(givesPath(address, { storePath: read(`${path}2`), references: refs }), false);
      const lib = parseStorePath(`/nix/store/${"1".repeat(32)}-lib`);
      assert.equal(givesPath(address, { storePath, references: [...refs, lib] }), false);
      for (const { ca: other } of PATHS) {
        const isSame = givesPath(parseContentAddress(other), { storePath, references: refs });
        assert.equal(isSame, other === ca);
      }
    });
  }
});

describe("parseContentAddress()", () => {
  it("rejects what is none", () => {
    for (const text of ["", "sha256:0", "text:sha256:00", "fixed:x:sha256:00", "fixed:r:"]) {
      assert.throws(() => parseContentAddress(text), { name: "FormatError" });
    }
  });
});
