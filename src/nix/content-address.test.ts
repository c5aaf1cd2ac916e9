import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { givesPath, isContentAddressed, parseContentAddress } from "./content-address.ts";
import { parseStorePath, type StorePath } from "./store-path.ts";

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

const OTHER_STORE = "/tmp/hp-self/store";
const OTHER_LIB = parseStorePath(
  `${OTHER_STORE}/szzmjpb4hx0l6qf4h4b94mfgscda33qr-lib`,
  OTHER_STORE,
);
const OWN = parseStorePath(`${OTHER_STORE}/rmmh468q7qb4l8anxfwzdfidggsbkhma-own`, OTHER_STORE);
const LIB = parseStorePath("/nix/store/72lsa8jbk86m74df2zaqyb4dq36l7245-lib");
const APP = parseStorePath("/nix/store/6kjmrxlr0rsygil4cgx149mxgyqhkv36-app");
const APP_ADDRESS = "text:sha256:02mxzv49w50xi4n2b403ja9sc1kvpf5yipsm4xm21bjdxcjf3k2p";

/** As real Nix has them, by the command that made them. */
const REAL: Readonly<Record<string, readonly [StorePath, string, readonly StorePath[]]>> = {
  "builtins.toFile": [LIB, "text:sha256:1xsh8w47cwbgnz9l5q3gg6vdzannffg32pl0x40d6k7k5m6r00iz", []],
  "builtins.toFile with a reference": [APP, APP_ADDRESS, [LIB]],
  "nix-store --add-fixed sha256": [
    parseStorePath("/nix/store/hrzh64qwa6kpxv4ik12aiyppb3r0njks-flat"),
    "fixed:sha256:00xyyr3fi8l6hb839bv3f7yb86yjv7xi1cgh1xnhipym4asvb4aq",
    [],
  ],
  "nix-store --add-fixed sha1": [
    parseStorePath("/nix/store/w6b5y6vkvz8n60ldvkgm1jllmnd1l86a-flat"),
    "fixed:sha1:iwjz551fyw0cxcjgf4l6c879zabd6wpm",
    [],
  ],
  "nix-store --add-fixed md5": [
    parseStorePath("/nix/store/7cngpdqdggi1qqh5z2cq1i9m7dj0c5w2-flat"),
    "fixed:md5:4425hx5d1mc9y39llj4k4nm55i",
    [],
  ],
  "nix-store --add-fixed --recursive sha256": [
    parseStorePath("/nix/store/rhb9m3nc5lfs3b87chr7r28lyyrrh7wf-tree"),
    "fixed:r:sha256:0fzd3xy0rg1gdxfi7wg675q1vs7hh332lz0x4ml9l3arvl37yx9d",
    [],
  ],
  "nix-store --add-fixed --recursive sha1": [
    parseStorePath("/nix/store/5vh2dxi9azpcx6za8awyhfagk99q0r78-tree"),
    "fixed:r:sha1:m26j68chp094s46n2j78zc72khczw60l",
    [],
  ],
  "nix store make-content-addressed, of a path that refers to itself": [
    OWN,
    "fixed:r:sha256:14y8x10kmbibavkv3irbf3xv0ylivnyxbgv95jynp8qaqy3d5l6b",
    [OWN, OTHER_LIB],
  ],
};

describe("isContentAddressed()", () => {
  for (const [command, [storePath, ca, references]] of Object.entries(REAL)) {
    it(`computes the path of ${command}`, () => {
      assert.equal(isContentAddressed({ storePath, ca, references }), true);
    });
  }

  it("returns false for other references, another hash, another method and other texts", () => {
    const app = { storePath: APP, references: [LIB], ca: APP_ADDRESS };
    for (const change of [
      { references: [] },
      { references: [LIB, APP] },
      { storePath: LIB },
      { ca: APP_ADDRESS.replace("02mx", "02mz") },
      { ca: APP_ADDRESS.replace("text:", "fixed:r:") },
      { ca: APP_ADDRESS.replace("text:", "fixed:") },
      { ca: "text:sha256:short" },
      { ca: "fixed:r:" },
      { ca: "" },
    ]) {
      assert.equal(isContentAddressed({ ...app, ...change }), false, JSON.stringify(change));
    }
  });
});
